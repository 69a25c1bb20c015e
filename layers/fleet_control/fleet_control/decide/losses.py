"""What instances that are gone, going or warned leave behind: jobs to requeue, rows to remove."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from fleet_control.decide.model import (
    INSTANCE_TERMINATED,
    SPOT_INTERRUPTION,
    WORKER_LOST,
    Drain,
    Instance,
    Lease,
    Observation,
    Stray,
    Worker,
)


@dataclass(frozen=True, slots=True)
class Requeue:
    """Make one dispatch leasable again, provided its lease token is still this one."""

    lease: Lease
    reason: str
    because: str = ""
    """What the reason, one of the contract's, does not say."""


@dataclass(frozen=True, slots=True)
class Losses:
    """`remove` are workers whose instance no longer exists."""

    requeue: tuple[Requeue, ...] = ()
    remove: tuple[Worker, ...] = ()


def losses(observation: Observation, timed_out: Iterable[Lease] = (), forgotten: Iterable[Lease] = ()) -> Losses:
    """Everything that has to be cleaned up on the stage at this instant. `timed_out` are leases of lost workers,
    `forgotten` of workers that do not know of them."""
    members = [instance for fleet in observation.fleets for instance in fleet.instances]
    requeue = [r for member in members for r in _of_member(member, observation.now)]
    requeue += [r for stray in observation.strays for r in _of_stray(stray, observation.now)]
    given = {lost.lease for lost in requeue}
    # Capacity is what a hold keeps. Who was warned goes all the same, and its machine may have died.
    held = [
        instance.worker for fleet in observation.held for instance in fleet.instances if instance.worker is not None
    ]
    warned = [r for worker in held for r in of_warned(worker.drain, worker.leases, observation.now)]
    requeue += [lost for lost in warned if lost.lease not in given]
    requeue += [Requeue(lease, WORKER_LOST) for lease in timed_out if lease not in given]
    requeue += [Requeue(lease, WORKER_LOST, "its worker polls for more") for lease in forgotten if lease not in given]
    gone = [m.worker for m in members if m.state == "terminated"]
    gone += [stray.worker for stray in observation.strays if stray.is_gone]
    return Losses(tuple(requeue), tuple(worker for worker in gone if worker is not None))


def requeue_all(leases: Iterable[Lease], reason: str, now: datetime) -> list[Requeue]:
    """Every lease but the stuck ones: those are reported, never touched."""
    return [Requeue(lease, reason) for lease in leases if not lease.is_stuck(now)]


def _of_member(instance: Instance, now: datetime) -> list[Requeue]:
    if instance.worker is None:
        return []
    if instance.state in ("shutting-down", "terminated"):
        return requeue_all(instance.worker.leases, INSTANCE_TERMINATED, now)
    return of_warned(instance.worker.drain, instance.worker.leases, now)


def of_warned(drain: Drain | None, leases: Iterable[Lease], now: datetime) -> list[Requeue]:
    """What a worker has to give back once it is warned: all but the jobs that may still finish."""
    if drain is None or drain.reason != SPOT_INTERRUPTION:
        return []
    return requeue_all((lease for lease in leases if not drain.spares(lease, now)), SPOT_INTERRUPTION, now)


def _of_stray(stray: Stray, now: datetime) -> list[Requeue]:
    """A stray that runs is somebody's business, not ours: launched by hand, detached for debugging."""
    if not stray.is_gone and stray.state != "shutting-down":
        return []
    return requeue_all(stray.leases, INSTANCE_TERMINATED, now)
