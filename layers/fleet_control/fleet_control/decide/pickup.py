"""Drains of ours whose `scale_in` execution is gone: started again, under a name of its own."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from fleet_control.decide.model import Drain, Fleet, HeldFleet, Instance, Worker
from fleet_control.decide.standing import seconds_since

PICK_UP_SECONDS = 90
"""A scale-in ends within its drain limit (60 s) and a few looks; a drain this old without one has been abandoned."""


def execution_name(worker: Worker, drain: Drain, now: datetime) -> str:
    """Instance and drain row, so that a second start is the first; and the age in pick-up periods, because an
    execution's name stays reserved for 90 days after it has ended."""
    attempt = int(seconds_since(drain.at, now) // PICK_UP_SECONDS)
    return f"{worker.instance_id}-{drain.row_id}-{max(0, attempt)}"


def old_drains(fleets: Iterable[Fleet | HeldFleet], now: datetime) -> bool:
    """Whether any drain is old enough to make asking for the running executions worth a call."""
    return any(_is_old(instance, now) for fleet in fleets for instance in fleet.instances)


def abandoned_drains(
    fleet: Fleet | HeldFleet, undone: tuple[Instance, ...], running: frozenset[str] | None, now: datetime
) -> tuple[Worker, ...]:
    """Workers to start `scale_in` for again. Nothing is abandoned while we cannot see what runs."""
    if running is None:
        return ()
    left = [i for i in fleet.instances if i not in undone and _is_old(i, now)]
    workers = [i.worker for i in left if i.worker is not None]
    return tuple(w for w in workers if w.drain and not _has_execution(w, w.drain, running))


def _has_execution(worker: Worker, drain: Drain, running: frozenset[str]) -> bool:
    return any(name.startswith(f"{worker.instance_id}-{drain.row_id}-") for name in running)


def _is_old(instance: Instance, now: datetime) -> bool:
    drain = instance.worker.drain if instance.worker else None
    return (
        instance.exists and drain is not None and drain.is_scale_in and seconds_since(drain.at, now) >= PICK_UP_SECONDS
    )
