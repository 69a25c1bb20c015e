"""The few ways in which this control plane fails, each with what to do next in its text.

`Hold` marks the failures after which capacity stays as it is (Law: blind means hold); a flow that catches it
records `reason` in its decision.
"""
# ruff: noqa: N818 (most of these are states of the world, not faults; their names say which)


class FleetControlError(Exception):
    """Base of every error this package raises on purpose. `reason` is a short code for logs and metrics."""

    reason = "error"


class BadSettings(FleetControlError):
    """An environment variable is missing or wrong; the text names it."""

    reason = "bad_settings"


class BadEvent(FleetControlError):
    """A trigger's event does not have the shape its source promises; it belongs in the dead-letter queue."""

    reason = "bad_event"


class NotKept(FleetControlError):
    """What cannot be read could not be put into the dead-letter queue either; it must be delivered again."""

    reason = "not kept"


class UnknownEvent(FleetControlError):
    """An event of a kind that this function does not know: nothing is wrong with it, and nothing is done."""

    reason = "unknown_event"


class Hold(FleetControlError):
    """What is true now cannot be known, so nothing may be concluded from it."""

    reason = "blind"


class DatabaseUnavailable(Hold):
    """The database cannot be reached, entered or read in time; the text says which, and what to check."""

    reason = "database unavailable"


class SchemaNotMigrated(Hold):
    """A table is missing, or the grant that comes with it: the backend has not migrated yet."""

    reason = "schema not migrated"


class SecretUnreadable(Hold):
    """Secrets Manager or Parameter Store did not give a usable value; the value itself is never in the text."""

    reason = "secret unreadable"


class Blind(Hold):
    """An AWS API could not be read."""

    reason = "aws api unreadable"


class ImageNotAccepted(FleetControlError):
    """Systems Manager took an image's id and then found no such image; the text names both."""

    reason = "image not accepted"


class LockBusy(Hold):
    """Somebody else holds the stage's lock; their look counts as ours."""

    reason = "lock busy"


class DatabaseBusy(FleetControlError):
    """A row was locked for too long, or a deadlock chose us: the transaction was rolled back and may be repeated."""

    reason = "database busy"
