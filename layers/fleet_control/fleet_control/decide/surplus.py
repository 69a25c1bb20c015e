"""Which idle instance goes next: one by one, the longest idle first, the last one only after the fleet's own window."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fleet_control.decide.capacity import Capacity
from fleet_control.decide.model import IDLE, REBALANCE, SCALE_TO_ZERO, Fleet, Instance, Standing, Worker
from fleet_control.decide.standing import seconds_since

SERVES = frozenset({Standing.BUSY, Standing.IDLE})


@dataclass(frozen=True, slots=True)
class ScaleIn:
    """Drain this worker for `reason`; None and why not, when nobody goes."""

    worker: Worker | None
    reason: str
    idle_seconds: float = 0


def choose(fleet: Fleet, capacity: Capacity, now: datetime) -> ScaleIn:
    """At most one instance at a time: the next look sees what the last one left."""
    if capacity.surplus <= 0:
        return ScaleIn(None, "no surplus")
    if _drain_under_way(fleet):
        return ScaleIn(None, "a drain is under way")
    replaced = _replaced(fleet, capacity)
    if replaced is not None:
        return ScaleIn(replaced, REBALANCE, seconds_since(replaced.active_at, now))
    return _choose_idle(fleet, capacity, now)


def _choose_idle(fleet: Fleet, capacity: Capacity, now: datetime) -> ScaleIn:
    serving = _serving(fleet, capacity)
    idle = _longest_idle_first(serving, capacity)
    if not idle:
        return ScaleIn(None, "nobody idle")
    if len(serving) <= capacity.wanted:
        return ScaleIn(None, "others still boot")
    longest = idle[0]
    window, since, reason = _window(fleet, len(serving), longest)
    waited = seconds_since(since, now)
    if waited < window:
        return ScaleIn(None, f"{reason} window", waited)
    return ScaleIn(longest, reason, waited)


def _drain_under_way(fleet: Fleet) -> bool:
    return any(
        i.exists and i.worker is not None and i.worker.drain is not None and i.worker.drain.is_scale_in
        for i in fleet.instances
    )


def _serving(fleet: Fleet, capacity: Capacity) -> list[Instance]:
    """Whose worker lives. A pending instance is not protected yet and cannot be judged: it stays."""
    where = capacity.standing or {}
    return [i for i in fleet.instances if i.lifecycle == "InService" and where.get(i.id) in SERVES]


def _replaced(fleet: Fleet, capacity: Capacity) -> Worker | None:
    """Who has been replaced: the group has launched beyond desired, and as many as desired serve without this one.

    Those that EC2 recommends to replace come first, the idle before the busy. Should the recommendation have been
    lost, it is the oldest, idle or not: never the replacement, which would only be launched again.
    """
    serving = _serving(fleet, capacity)
    enough = max(capacity.wanted, fleet.desired - capacity.holding, 1)
    if capacity.existing <= fleet.desired or len(serving) <= enough:
        return None
    where = capacity.standing or {}
    busy = {i.id: i.rebalance and where[i.id] is Standing.BUSY for i in serving}
    workers = [(not i.rebalance, busy[i.id], i.worker) for i in serving if i.worker is not None]
    return min(workers, key=lambda one: (one[0], one[1], one[2].registered_at, one[2].row_id))[2]


def _longest_idle_first(serving: list[Instance], capacity: Capacity) -> list[Worker]:
    """Before them those that EC2 recommends to replace: they would be the next to go anyway."""
    where = capacity.standing or {}
    idle = [(not i.rebalance, i.worker) for i in serving if i.worker and where.get(i.id) is Standing.IDLE]
    return [worker for _, worker in sorted(idle, key=lambda one: (one[0], one[1].active_at, one[1].row_id))]


def _window(fleet: Fleet, serving: int, worker: Worker) -> tuple[float, datetime, str]:
    """(seconds to wait, counted from when, reason). The last one that serves waits for the whole fleet's quiet."""
    if serving > 1:
        return fleet.policy.idle_seconds, worker.active_at, IDLE
    quiet_since = max(worker.active_at, fleet.last_job_at or worker.active_at)
    return fleet.policy.scale_to_zero_seconds, quiet_since, SCALE_TO_ZERO
