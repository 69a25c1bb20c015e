"""A fleet's new image: which instance is replaced next, when to wait, and when the image is given up.

Levels only: which instances run an old image is what EC2 says of each, against what the parameter says now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from fleet_control.decide.capacity import wanted_instances
from fleet_control.decide.model import Fleet, Instance, Policy, Standing, Worker
from fleet_control.decide.standing import seconds_since, standings

PERIOD_SECONDS = 30
"""Half of the schedule's rate: the second survey after an execution's death finds a name that is free, within 90 s."""

SERVES = frozenset({Standing.BUSY, Standing.IDLE})
AT_REST = SERVES | {Standing.DRAINING, Standing.OUTSIDE}
"""Nothing is under way with these; a drain of our own is, an admin's is not."""


class Next(StrEnum):
    REPLACE = "replace"
    WAIT = "wait"
    DONE = "done"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Image:
    """What the fleet's parameter says: an AMI's id, the parameter's version, since when (naive UTC)."""

    id: str
    version: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Launched:
    """An instance of the group as EC2 remembers it, for about an hour after its end, too. `ended_at` is None while it
    lasts; `registered`: its worker has once reported to the backend."""

    id: str
    image: str
    at: datetime
    gone: bool = False
    ended_at: datetime | None = None
    taken_by_spot: bool = False
    registered: bool = False

    def failed(self, policy: Policy, now: datetime) -> bool:
        """It had its whole time to register and did not. One that Spot took, or that was cancelled, says nothing."""
        if self.registered or self.taken_by_spot:
            return False
        until = self.ended_at if self.gone and self.ended_at is not None else now
        return seconds_since(self.at, until) >= policy.launch_deadline_seconds


@dataclass(frozen=True, slots=True)
class Scene:
    """One fleet in the middle of a rollout."""

    fleet: Fleet
    image: Image
    launched: tuple[Launched, ...]

    def image_of(self, instance: Instance) -> str | None:
        """None as long as EC2 does not tell."""
        return next((one.image for one in self.launched if one.id == instance.id), None)


@dataclass(frozen=True, slots=True)
class Step:
    """What happens next and why; `worker` is who is replaced."""

    next: Next
    reason: str
    worker: Worker | None = None
    numbers: Mapping[str, object] = field(default_factory=dict)


def execution_name(group: str, image: Image, now: datetime) -> str:
    """Fleet and version, so that a second event is the first; and the version's age in periods, because the name of an
    execution that died stays reserved for 90 days."""
    return f"{group}-v{image.version}-{max(0, int(seconds_since(image.since, now) // PERIOD_SECONDS))}"


def is_taken(group: str, image: Image, executions: frozenset[str]) -> bool:
    """Whether one of these executions is of this fleet and version."""
    beginning = f"{group}-v{image.version}-"
    return any(name.startswith(beginning) and name.removeprefix(beginning).isdigit() for name in executions)


def outdated(fleet_instances: tuple[Instance, ...], launched: tuple[Launched, ...], image: Image) -> bool:
    """Whether any instance of the group runs another image than the parameter names."""
    images = {one.id: one.image for one in launched}
    return any(one.exists and images.get(one.id, image.id) != image.id for one in fleet_instances)


def step(scene: Scene, version: int, now: datetime) -> Step:
    """One look. `version` is the one that this execution rolls out."""
    where = standings(scene.fleet, now)
    existing = [one for one in scene.fleet.instances if one.exists]
    old = [one for one in existing if scene.image_of(one) != scene.image.id]
    found = (
        _superseded(scene.image, version)
        or _broken(scene, now)
        or _nobody(scene.fleet, existing)
        or _under_way(scene, existing, where)
        or _finished(old, where)
        or _replace(scene.fleet, existing, old, where)
    )
    return Step(found.next, found.reason, found.worker, _numbers(scene, existing, old))


def _superseded(image: Image, version: int) -> Step | None:
    if image.version == version:
        return None
    return Step(Next.DONE, f"version {image.version} of the image has its own rollout")


def _broken(scene: Scene, now: datetime) -> Step | None:
    for one in scene.launched:
        if one.image == scene.image.id and one.failed(scene.fleet.policy, now):
            deadline = scene.fleet.policy.launch_deadline_seconds
            return Step(Next.STOP, f"{one.id} runs {one.image} and did not register within {deadline:.0f} s")
    return None


def _nobody(fleet: Fleet, existing: list[Instance]) -> Step | None:
    if existing:
        return None
    if fleet.desired or wanted_instances(fleet):
        return Step(Next.WAIT, "its group is about to launch")
    return Step(Next.DONE, "the fleet is at zero: the next launch takes the new image")


def _under_way(scene: Scene, existing: list[Instance], where: Mapping[str, Standing]) -> Step | None:
    """One at a time, whoever began it: a launch, an interruption, a scale-in, a replacement of ours."""
    for one in scene.fleet.instances:
        if one.worker is not None and one.worker.drain is not None and one.worker.drain.is_scale_in:
            return Step(Next.WAIT, f"{one.id} is on its way out")
        if where[one.id] not in AT_REST:
            return Step(Next.WAIT, f"{one.id} is {where[one.id]}")
        if one.exists and scene.image_of(one) is None:
            return Step(Next.WAIT, f"EC2 does not know {one.id} yet")
    short = max(scene.fleet.desired, wanted_instances(scene.fleet)) - len(existing)
    return Step(Next.WAIT, f"{short} instances are still to be launched") if short > 0 else None


def _finished(old: list[Instance], where: Mapping[str, Standing]) -> Step | None:
    if any(where[one.id] in SERVES for one in old):
        return None
    left = ", ".join(one.id for one in old)
    return Step(Next.DONE, f"only {left} is left, which others have put aside" if left else "all run the image")


def _replace(fleet: Fleet, existing: list[Instance], old: list[Instance], where: Mapping[str, Standing]) -> Step:
    """The longest idle of the old ones; never one that works, and never the last one that serves while it is needed."""
    settled = [one for one in old if one.lifecycle == "InService" and where[one.id] is Standing.IDLE]
    idle = [one.worker for one in settled if one.worker is not None]
    serving = sum(where[one.id] in SERVES for one in existing)
    if not idle:
        return Step(Next.WAIT, "all that run an older image are at work")
    if serving == 1 and fleet.queued:
        return Step(Next.WAIT, f"the only one that serves, and {fleet.queued} jobs wait")
    if serving == 1 and not wanted_instances(fleet):
        return Step(Next.WAIT, "the last one, kept for the next job: it goes when its fleet goes to zero")
    worker = min(idle, key=lambda one: (one.active_at, one.row_id))
    return Step(Next.REPLACE, f"{worker.instance_id} runs an older image and is idle", worker)


def _numbers(scene: Scene, existing: list[Instance], old: list[Instance]) -> dict[str, object]:
    return {
        "image": scene.image.id,
        "version": scene.image.version,
        "existing": len(existing),
        "old": len(old),
        "desired": scene.fleet.desired,
        "wanted": wanted_instances(scene.fleet),
        "queued": scene.fleet.queued,
    }
