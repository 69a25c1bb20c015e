"""Small builders, so that a test says only what matters. Ages in seconds before NOW."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from fleet_control.decide.model import (
    IDLE,
    SPOT_INTERRUPTION,
    Drain,
    Fleet,
    Instance,
    Lease,
    Observation,
    Policy,
    Worker,
)

NOW = datetime(2026, 1, 5, 12, 0, 0)  # noqa: DTZ001 - naive UTC, as the database answers
SLUG = "image-to-video"
GROUP = "asg-staging-image-to-video"


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def policy(**values: Any) -> Policy:
    given: dict[str, Any] = {"workflows": (SLUG,), "min_size": 0, "max_size": 10} | values
    return Policy(**given)


def lease(dispatch_id: int = 1, *, holder: str = "i-1", expires_in: float = 600, attempts: int = 1) -> Lease:
    return Lease(dispatch_id, SLUG, holder, f"token-{dispatch_id}", NOW + timedelta(seconds=expires_in), attempts)


def worker(name: str = "i-1", *, active: float = 30, seen: float | None = 2, **values: Any) -> Worker:
    """Alive and idle unless told otherwise."""
    row_id = int(name.removeprefix("i-"))
    seen_at = None if seen is None else ago(seen)
    return Worker(row_id, name, registered_at=ago(3600), active_at=ago(active), seen_at=seen_at, **values)


def drain(reason: str = IDLE, *, age: float = 5, row_id: int = 100, committed: bool = False) -> Drain:
    return Drain(row_id, reason, ago(age), committed)


def idle(name: str, for_seconds: float = 30) -> Instance:
    return Instance(name, launched_at=ago(4000), worker=worker(name, active=for_seconds))


def busy(name: str, seen: float = 2) -> Instance:
    held = (lease(int(name.removeprefix("i-")), holder=name),)
    return Instance(name, launched_at=ago(4000), worker=worker(name, seen=seen, leases=held))


def dead(name: str) -> Instance:
    """EC2 has ended it, the group has not noticed."""
    return Instance(name, launched_at=ago(4000), state="terminated", worker=worker(name))


def booting(name: str, age: float | None = 60, lifecycle: str = "Pending") -> Instance:
    return Instance(name, lifecycle, launched_at=None if age is None else ago(age))


def draining(name: str, reason: str = IDLE, *, age: float = 5, committed: bool = False, leases: Any = ()) -> Instance:
    ours = drain(reason, age=age, row_id=100 + int(name.removeprefix("i-")), committed=committed)
    return Instance(name, launched_at=ago(4000), worker=worker(name, draining=True, drain=ours, leases=leases))


def interrupted(name: str, leases: Any = ()) -> Instance:
    return draining(name, SPOT_INTERRUPTION, leases=leases)


def drained_by_admin(name: str) -> Instance:
    return Instance(name, launched_at=ago(4000), worker=worker(name, draining=True))


def silent(name: str) -> Instance:
    return Instance(name, launched_at=ago(4000), worker=worker(name, seen=301))


def going(name: str) -> Instance:
    return Instance(name, "Terminating:Wait", launched_at=ago(4000), worker=worker(name))


def fleet(*instances: Instance, desired: int | None = None, queued: int = 0, leased: int = 0, **values: Any) -> Fleet:
    """Desired is what exists, unless told otherwise; keywords of the policy go to the policy."""
    own = {key: values.pop(key) for key in tuple(values) if key in Policy.__dataclass_fields__}
    existing = sum(instance.exists for instance in instances)
    name = values.pop("name", GROUP)
    desired = existing if desired is None else desired
    return Fleet(name, policy(**own), desired, tuple(instances), queued, leased, **values)


def observation(*fleets: Fleet, **values: Any) -> Observation:
    return Observation(NOW, tuple(fleets), **values)
