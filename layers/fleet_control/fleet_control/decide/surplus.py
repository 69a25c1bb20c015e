"""Which idle instance goes next: one by one, the longest idle first, the last one only after the fleet's own window."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fleet_control.decide.capacity import Capacity
from fleet_control.decide.model import IDLE, SCALE_TO_ZERO, Fleet, Standing, Worker
from fleet_control.decide.standing import seconds_since


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
    idle = _idle_workers(fleet, capacity)
    if not idle:
        return ScaleIn(None, "nobody idle")
    longest = idle[0]
    window, since, reason = _window(fleet, capacity, longest)
    waited = seconds_since(since, now)
    if waited < window:
        return ScaleIn(None, f"{reason} window", waited)
    return ScaleIn(longest, reason, waited)


def _drain_under_way(fleet: Fleet) -> bool:
    return any(
        i.exists and i.worker is not None and i.worker.drain is not None and i.worker.drain.is_scale_in
        for i in fleet.instances
    )


def _idle_workers(fleet: Fleet, capacity: Capacity) -> list[Worker]:
    """Longest idle first. A pending instance is not protected yet and cannot be judged: it stays."""
    where = capacity.standing or {}
    workers = [
        i.worker
        for i in fleet.instances
        if i.worker is not None and i.lifecycle == "InService" and where.get(i.id) is Standing.IDLE
    ]
    return sorted(workers, key=lambda worker: (worker.active_at, worker.row_id))


def _window(fleet: Fleet, capacity: Capacity, worker: Worker) -> tuple[float, datetime, str]:
    """(seconds to wait, counted from when, reason). The last instance of a fleet waits for the whole fleet's quiet."""
    if capacity.supply > 1:
        return fleet.policy.idle_seconds, worker.active_at, IDLE
    quiet_since = max(worker.active_at, fleet.last_job_at or worker.active_at)
    return fleet.policy.scale_to_zero_seconds, quiet_since, SCALE_TO_ZERO
