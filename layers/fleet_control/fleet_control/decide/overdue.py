"""Instances that never registered: each goes by name, after a second look, and is replaced where one is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fleet_control.decide.capacity import Capacity
from fleet_control.decide.model import Fleet, Instance, Standing
from fleet_control.decide.pickup import PICK_UP_SECONDS
from fleet_control.decide.standing import seconds_since, standing


@dataclass(frozen=True, slots=True)
class Overdue:
    """Have this instance looked at again under the execution's name, then terminated; `replace`: desired stays, so that
    its group launches another."""

    instance_id: str
    execution: str
    replace: bool


def overdue(
    fleet: Fleet, needs: Capacity, desired: int, running: frozenset[str] | None, now: datetime
) -> tuple[Overdue, ...]:
    """As many as the breaker lets go. `desired` is what the group has by then; what is above the target goes first,
    and takes desired down with it. Those with an execution on its way need no other."""
    late = [i for i in fleet.instances if (needs.standing or {}).get(i.id) is Standing.OVERDUE][: needs.overdue]
    shrink = max(0, desired - needs.target)
    found = [Overdue(one.id, _execution(one, fleet, now), number >= shrink) for number, one in enumerate(late)]
    return tuple(one for one in found if not _on_its_way(one, running or frozenset()))


def any_overdue(fleets: tuple[Fleet, ...], now: datetime) -> bool:
    return any(standing(i, fleet.policy, now) is Standing.OVERDUE for fleet in fleets for i in fleet.instances)


def _execution(one: Instance, fleet: Fleet, now: datetime) -> str:
    """With its lateness in pick-up periods: a second start is the first, and one that died has a successor."""
    late_for = seconds_since(one.launched_at, now) - fleet.policy.launch_deadline_seconds
    return f"{one.id}-overdue-{int(late_for // PICK_UP_SECONDS)}"


def _on_its_way(one: Overdue, running: frozenset[str]) -> bool:
    return any(name.startswith(f"{one.instance_id}-overdue-") for name in running)
