"""Where each instance stands: supply, a slot held without serving, or neither."""

from __future__ import annotations

from datetime import datetime

from fleet_control.decide.model import REBALANCE, SPOT_INTERRUPTION, Fleet, Instance, Policy, Standing, Worker


def seconds_since(then: datetime | None, now: datetime) -> float:
    """Age in seconds; an instant that is not known is infinitely long ago."""
    return float("inf") if then is None else (now - then).total_seconds()


def standing(instance: Instance, policy: Policy, now: datetime) -> Standing:
    """The one answer for one instance; the first rule that fits wins."""
    if instance.is_going:
        return Standing.TERMINATING
    if not instance.exists:
        return Standing.OUTSIDE
    if instance.worker is None:
        return _unregistered(instance, policy, now)
    return _registered(instance.worker, policy, now)


def _unregistered(instance: Instance, policy: Policy, now: datetime) -> Standing:
    # Without a launch time EC2 has not caught up with the group yet: the instance is new.
    age = 0.0 if instance.launched_at is None else seconds_since(instance.launched_at, now)
    return Standing.BOOTING if age < policy.launch_deadline_seconds else Standing.OVERDUE


def _registered(worker: Worker, policy: Policy, now: datetime) -> Standing:
    if worker.drain is not None and worker.drain.reason == SPOT_INTERRUPTION:
        return Standing.INTERRUPTED
    if worker.draining:
        ours = worker.drain is not None and worker.drain.reason == REBALANCE
        return Standing.REPLACED if ours else Standing.DRAINING
    if not worker.approved or not is_alive(worker, policy, now):
        return Standing.SILENT
    return Standing.BUSY if worker.is_busy(now) else Standing.IDLE


def is_alive(worker: Worker, policy: Policy, now: datetime) -> bool:
    """Seen lately, or under a live lease: workers in the field fall silent while they work, but not for ever."""
    silent_for = seconds_since(worker.seen_at, now)
    working = worker.holds_live_lease(now) and silent_for < policy.job_timeout_seconds
    return silent_for < policy.silent_seconds or working


def standings(fleet: Fleet, now: datetime) -> dict[str, Standing]:
    """Standing by instance id."""
    return {instance.id: standing(instance, fleet.policy, now) for instance in fleet.instances}
