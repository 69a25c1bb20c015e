"""How many instances a fleet should have: the one formula for 0→1 and 1→N, and when desired is lowered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fleet_control.decide.breaker import CLOSED, Breaker, breaker
from fleet_control.decide.model import HOLDS_A_SLOT, SUPPLY, Fleet, Instance, Policy, Standing
from fleet_control.decide.standing import is_alive, standings

FAR_ABOVE = 5
"""Desired beyond what is wanted and exists by more than this was set by hand, or a great queue is gone at once."""

UNDONE_FIRST = frozenset({Standing.DRAINING, Standing.REPLACED})


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a fleet needs and what it has. `undo` names the drains of ours to take back first."""

    wanted: int
    supply: int
    holding: int
    existing: int
    target: int
    desired: int
    rule: str
    undo: tuple[Instance, ...] = ()
    standing: Mapping[str, Standing] | None = None
    breaker: Breaker = CLOSED
    overdue: int = 0
    """How many overdue instances may go now, so that no more replacements are launched than the breaker allows."""
    floor: int = 0
    """Desired can be this low and nobody who is there goes."""

    @property
    def surplus(self) -> int:
        return self.supply - self.wanted


def wanted_instances(fleet: Fleet) -> int:
    """ceil(demand / backlog target), at least 1 when there is demand, within min..max."""
    by_backlog = -(-fleet.demand // fleet.policy.backlog_target)
    return max(fleet.policy.min_size, min(fleet.policy.max_size, by_backlog))


def capacity(fleet: Fleet, now: datetime) -> Capacity:
    """The desired capacity of one fleet on its own, before the stage's limit."""
    where = standings(fleet, now)
    count = Counter(where.values())
    wanted = wanted_instances(fleet)
    undo = _drains_to_undo(fleet, where, wanted - _total(count, SUPPLY), now)
    supply = _total(count, SUPPLY) + len(undo) + fleet.launches.unseen
    holding = _total(count, HOLDS_A_SLOT) - sum(where[instance.id] in HOLDS_A_SLOT for instance in undo)
    unseen = fleet.launches.unseen
    existing = sum(instance.exists for instance in fleet.instances) + unseen
    allowed = breaker(fleet.launches, fleet.policy, count[Standing.BOOTING] + unseen, now)
    late = count[Standing.OVERDUE]
    # Those that never registered make room for their replacements.
    within = allowed.within(existing - late, min(fleet.policy.max_size, wanted + holding))
    target = max(fleet.policy.min_size, within)
    floor = max(fleet.policy.min_size, _floor(fleet, allowed))
    desired, rule = _desired(fleet, target, floor)
    if allowed.probes and rule == "raise":
        rule = "probe"
    go = late if allowed.launches is None else max(0, min(late, allowed.launches + existing - target))
    return Capacity(wanted, supply, holding, existing, target, desired, rule, undo, where, allowed, go, floor)


def _floor(fleet: Fleet, allowed: Breaker) -> int:
    """What desired is not lowered below. A member that EC2 says is gone keeps its place in the group's own count until
    the group notices, and a number below that count would cancel an instance that is still pending, and unprotected.
    Where launches fail it is lowered all the same: the place of the dead one would be launched into."""
    alive = sum(instance.exists for instance in fleet.instances)
    pending = any(instance.lifecycle.startswith("Pending") for instance in fleet.instances)
    counted = sum(instance.is_counted for instance in fleet.instances)
    return fleet.launches.unseen + (counted if pending and allowed.launches is None else alive)


def _total(count: Counter[Standing], kinds: frozenset[Standing]) -> int:
    return sum(count[kind] for kind in kinds)


def _drains_to_undo(fleet: Fleet, where: Mapping[str, Standing], missing: int, now: datetime) -> tuple[Instance, ...]:
    """A drained instance of ours that still polls serves at once; a new one needs its warm-up."""
    ours = [i for i in fleet.instances if where[i.id] in UNDONE_FIRST and _serves_undrained(i, fleet.policy, now)]
    return tuple(ours[: max(0, missing)])


def _serves_undrained(instance: Instance, policy: Policy, now: datetime) -> bool:
    worker = instance.worker
    if worker is None or worker.drain is None or not worker.drain.can_be_undone:
        return False
    return worker.approved and is_alive(worker, policy, now)


def _desired(fleet: Fleet, target: int, floor: int) -> tuple[int, str]:
    if target > fleet.desired:
        return target, "raise"
    # Lowering to what exists launches nothing later and kills nothing: in-service instances are protected,
    # pending ones are not, so they are counted.
    floor = max(floor, target)
    if fleet.desired > floor:
        return floor, "reset" if fleet.desired - floor > FAR_ABOVE else "lower"
    return fleet.desired, "steady"


@dataclass(frozen=True, slots=True)
class Size:
    """Of a group at one moment: what it is asked for, and who is pending or in service. `unseen` were under way."""

    desired: int
    members: frozenset[str]
    unseen: int = 0


def still_right(planned: int, then: Size, now: Size, *, bounded: bool) -> int | None:
    """What to set, seen once more just before: terminations by name take desired down meanwhile, and launches begin.

    A lower number never raises, nor cancels what was launched since; a `bounded` raise (by the breaker) stands only
    while nothing has changed. None: nothing to set, the next look decides.
    """
    if planned < then.desired:
        floor = planned + max(0, len(now.members - then.members) - then.unseen)
        return floor if floor < now.desired else None
    if bounded and (then.desired, then.members) != (now.desired, now.members):
        return None
    return planned if planned > now.desired else None
