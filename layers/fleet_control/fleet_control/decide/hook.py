"""The terminate hook of a group: when an instance that has to go may go, whatever it has to go for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fleet_control.decide.losses import Requeue, requeue_all
from fleet_control.decide.model import (
    INSTANCE_TERMINATED,
    SPOT_INTERRUPTION,
    Drain,
    Fleet,
    HeldFleet,
    Instance,
    Policy,
    Worker,
)
from fleet_control.decide.scale_in import Next, refused

WAITS = "Terminating:Wait"
DEFAULTS = Policy(workflows=(), min_size=0, max_size=0)
"""The times of an instance whose group or its policy cannot be read: nobody waits for an operator."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: how long a drained worker may take to be refused, how long its job may still run, and how much earlier
    than its end it is given back."""

    drain: float
    job: float
    margin: float


@dataclass(frozen=True, slots=True)
class Answer:
    """To the hook of one instance: CONTINUE if it `goes`, else wait on.

    `mark`: its polls have to be stopped first. `extend`: nothing but our heartbeat keeps the group waiting for its job.
    `requeue` comes before it goes. `polled_at` is the first poll seen after the drain.
    """

    instance_id: str
    goes: bool
    reason: str
    worker: Worker | None = None
    mark: bool = False
    extend: bool = False
    requeue: tuple[Requeue, ...] = ()
    polled_at: datetime | None = None


def answers(fleet: Fleet | HeldFleet, now: datetime) -> tuple[Answer, ...]:
    """For every instance that waits: the same as its machine gives, whether that one lives or not. Where the policy
    cannot be read, by the times it would have by default: a hold keeps capacity, and does not kill who is at work."""
    policy = fleet.policy
    limits = Limits(policy.drain_limit_seconds, policy.job_timeout_seconds, policy.end_margin_seconds)
    return tuple(_of_member(member, limits, now) for member in fleet.instances if member.lifecycle == WAITS)


def _of_member(member: Instance, limits: Limits, now: datetime) -> Answer:
    if member.state in ("shutting-down", "terminated"):
        return Answer(member.id, True, "the instance is gone already")
    return answer(member.id, member.worker, limits, None, now)


def answer(
    instance_id: str, worker: Worker | None, limits: Limits, polled_at: datetime | None, now: datetime
) -> Answer:
    """Goes without a live lease and once no poll under way can bring one, or shortly before the end."""
    if worker is None:
        return Answer(instance_id, True, "no worker has registered from it")
    if worker.drain is None:
        return Answer(instance_id, False, "its polls are stopped first", worker, mark=True)
    if worker.holds_live_lease(now):
        return _busy(instance_id, worker, worker.drain, limits, now)
    if worker.drain.committed:
        return Answer(instance_id, True, "drained for good and without a job", worker)
    verdict = refused(worker, worker.drain.at, limits.drain, polled_at, now)
    goes = verdict.next is Next.TERMINATE
    return Answer(instance_id, goes, verdict.reason, worker, polled_at=verdict.polled_at)


def _busy(instance_id: str, worker: Worker, drain: Drain, limits: Limits, now: datetime) -> Answer:
    jobs = ", ".join(str(lease.dispatch_id) for lease in worker.leases if lease.is_live(now))
    warned = drain.reason == SPOT_INTERRUPTION
    end = drain.finish_by if warned else drain.at + timedelta(seconds=max(0.0, limits.job - limits.margin))
    if end is None or now >= end:
        why = SPOT_INTERRUPTION if warned else INSTANCE_TERMINATED
        return Answer(instance_id, True, f"time is up for job {jobs}", worker, requeue=_all(worker, why, now))
    left = (end - now).total_seconds()
    return Answer(
        instance_id,
        False,
        f"job {jobs} has {left:.0f} s left",
        worker,
        # The hook outlasts Spot's notice; of an end that nobody else sets it is ours to keep off.
        extend=not warned,
    )


def _all(worker: Worker, reason: str, now: datetime) -> tuple[Requeue, ...]:
    return tuple(requeue_all(worker.leases, reason, now))
