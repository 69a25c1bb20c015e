"""Scaling activities: what a group has tried, and what came of it, in AWS's own words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_autoscaling.type_defs import ActivityTypeDef

_DESCRIPTION = re.compile(r"(Launching a new|Terminating) EC2 instance(?:: (i-[0-9a-z]+))?")


@dataclass(frozen=True, slots=True)
class Activity:
    """One launch, or one termination. Instants are naive UTC.

    `instance_id` is None of a launch that AWS refused or has not named yet; `status` is AWS's, `message` its words on
    a failure, `cause` on why it was tried.
    """

    launches: bool
    instance_id: str | None
    status: str
    message: str
    cause: str
    at: datetime


def activity(raw: ActivityTypeDef) -> Activity | None:
    """None for whatever is neither a launch nor a termination (an instance refresh, a warm pool)."""
    found = _DESCRIPTION.match(raw.get("Description", ""))
    if found is None:
        return None
    return Activity(
        launches=found[1].startswith("Launching"),
        instance_id=found[2],
        status=str(raw["StatusCode"]),
        message=raw.get("StatusMessage", ""),
        cause=raw["Cause"],
        at=raw["StartTime"].astimezone(UTC).replace(tzinfo=None),
    )
