"""How much one look may change: the rest waits its turn, so that no look outlasts the lock, the tick or its time-out.

A change is a transaction of milliseconds or a call to AWS, one after the other under the stage's lock. At 2 ms a
statement and 60 ms a call all of MOST at once takes less than fifteen seconds, half of the function's time-out.
Nothing is remembered: the next look finds what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeVar
from zlib import crc32

from fleet_control.decide.losses import Losses
from fleet_control.decide.plan import FleetPlan, Plan

MOST: Mapping[str, int] = MappingProxyType(
    {
        "requeue": 200,  # 4 statements each
        "remove": 50,  # 6 statements
        "undo": 50,  # 6 statements
        "desired": 60,  # a call
        "scale_in": 20,  # 4 statements and a call
        "restart": 20,  # a call
        "suspend_az_rebalance": 10,  # a call, once in the life of a group
        "hold_launches": 10,  # a call
        "resume_launches": 10,  # a call
        "hooks": 20,  # 4 statements, 4 more for each job given back, and a call
        "zombies": 10,  # 4 statements and a call
        "overdue": 10,  # a call
    }
)
"""Changes of one look by kind: a field of Losses or of FleetPlan."""
LOSSES = frozenset({"requeue", "remove"})

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Turn:
    """What this look does of a plan. `put_off` counts the changes left to the next one, by kind."""

    plan: Plan
    put_off: Mapping[str, int] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        parts = [f"{kind} {count} (at most {MOST[kind]} a look)" for kind, count in self.put_off.items()]
        return f"left to the next look: {', '.join(parts)}"


def in_turn(decided: Plan, now: datetime) -> Turn:
    """Where there is too much of a kind, the instant decides who goes first: what fails again and again must not stand
    in the way of all others. The same plan at the same instant gives the same turn."""
    put_off: dict[str, int] = {}
    losses = _losses(decided.losses, now, put_off)
    fleets = decided.fleets
    for kind in (kind for kind in MOST if kind not in LOSSES):
        fleets = _fleets(fleets, kind, now, put_off)
        if kind == "desired":
            fleets = _resumed_with_desired(decided.fleets, fleets, put_off)
    return Turn(Plan(fleets, losses), dict(sorted(put_off.items())))


def _losses(losses: Losses, now: datetime, put_off: dict[str, int]) -> Losses:
    requeue = _first(losses.requeue, [str(r.lease.dispatch_id) for r in losses.requeue], "requeue", now)
    given = set(requeue)
    left = {lost.lease.worker_id for lost in losses.requeue if lost not in given}
    # The row of a worker is what tells the next look that there is something of it to requeue.
    ready = [worker for worker in losses.remove if worker.instance_id not in left]
    remove = _first(ready, [worker.instance_id for worker in ready], "remove", now)
    _count(put_off, "requeue", len(losses.requeue) - len(requeue))
    _count(put_off, "remove", len(losses.remove) - len(remove))
    return Losses(tuple(requeue), tuple(remove))


def _fleets(fleets: tuple[FleetPlan, ...], kind: str, now: datetime, put_off: dict[str, int]) -> tuple[FleetPlan, ...]:
    wishes = [(one.fleet, change) for one in fleets for change in _changes(one, kind)]
    granted = set(_first(range(len(wishes)), [f"{fleet} {n}" for n, (fleet, _) in enumerate(wishes)], kind, now))
    _count(put_off, kind, len(wishes) - len(granted))
    if len(granted) == len(wishes):
        return fleets
    numbers = iter(range(len(wishes)))
    return tuple(_trimmed(one, kind, [next(numbers) in granted for _ in _changes(one, kind)]) for one in fleets)


def _resumed_with_desired(
    planned: tuple[FleetPlan, ...], fleets: tuple[FleetPlan, ...], put_off: dict[str, int]
) -> tuple[FleetPlan, ...]:
    """A group that may launch again launches up to its desired capacity at once: up to the old one, were it not set."""
    early = [one.desired != wish.desired and one.resume_launches for wish, one in zip(planned, fleets, strict=True)]
    _count(put_off, "resume_launches", sum(early))
    changed = zip(fleets, early, strict=True)
    return tuple(_trimmed(one, "resume_launches", [False]) if waits else one for one, waits in changed)


def _changes(one: FleetPlan, kind: str) -> tuple[Any, ...]:
    wish = getattr(one, kind)
    if isinstance(wish, tuple):
        return wish
    return () if wish is None or wish is False else (wish,)


def _trimmed(one: FleetPlan, kind: str, may: Sequence[bool]) -> FleetPlan:
    if all(may):
        return one
    wish = getattr(one, kind)
    left = len(may) - sum(may)
    reason = f"{one.reason}; put off to the next look: {kind.replace('_', ' ')} ({left} of {len(may)})"
    rest: Any = None
    if isinstance(wish, tuple):
        rest = tuple(change for change, granted in zip(wish, may, strict=True) if granted)
    elif wish is True:
        rest = False
    changed: dict[str, Any] = {kind: rest, "reason": reason}
    return replace(one, **changed)


def _first(items: Sequence[Item], names: Sequence[str], kind: str, now: datetime) -> Sequence[Item]:
    """At most MOST of them, in their own order."""
    if len(items) <= MOST[kind]:
        return items
    lots = sorted(range(len(items)), key=lambda n: (crc32(f"{now.isoformat()} {names[n]}".encode()), n))
    return [items[n] for n in sorted(lots[: MOST[kind]])]


def _count(put_off: dict[str, int], kind: str, left: int) -> None:
    if left:
        put_off[kind] = put_off.get(kind, 0) + left
