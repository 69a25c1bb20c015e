"""The whole stage's plan: each fleet's decision with its reason, and what to clean up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fleet_control.decide.capacity import Capacity, capacity
from fleet_control.decide.limit import Request, grant
from fleet_control.decide.losses import Losses, losses
from fleet_control.decide.model import Fleet, Instance, Observation, Worker
from fleet_control.decide.pickup import abandoned_drains
from fleet_control.decide.standing import seconds_since
from fleet_control.decide.surplus import ScaleIn, choose


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """What to do with one fleet and why. `desired` None means: leave it as it is."""

    fleet: str
    rule: str
    reason: str
    desired: int | None = None
    undo: tuple[Worker, ...] = ()
    scale_in: ScaleIn | None = None
    restart: tuple[Worker, ...] = ()
    suspend_az_rebalance: bool = False
    numbers: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    fleets: tuple[FleetPlan, ...]
    losses: Losses


def plan(observation: Observation, worker_limit: int) -> Plan:
    """Pure: the same observation always gives the same plan."""
    capacities = {fleet.name: capacity(fleet, observation.now) for fleet in observation.fleets}
    requests = [Request(f.name, f.desired, capacities[f.name].desired, f.oldest_waiting_at) for f in observation.fleets]
    granted = grant(requests, worker_limit, reserved=sum(held.desired for held in observation.held))
    decided = [_fleet_plan(f, capacities[f.name], granted[f.name], observation) for f in observation.fleets]
    held = [FleetPlan(h.name, "hold", h.reason, numbers={"desired": h.desired}) for h in observation.held]
    return Plan((*decided, *held), losses(observation))


def _fleet_plan(fleet: Fleet, needs: Capacity, granted: int, observation: Observation) -> FleetPlan:
    now = observation.now
    going = choose(fleet, needs, now)
    return FleetPlan(
        fleet=fleet.name,
        rule=_rule(needs, granted, going, fleet),
        reason=_reason(fleet, needs, granted, going),
        desired=None if granted == fleet.desired else granted,
        undo=_workers(needs.undo),
        scale_in=going if going.worker is not None else None,
        restart=abandoned_drains(fleet, needs.undo, observation.scale_ins_running, now),
        suspend_az_rebalance=fleet.az_rebalance_runs,
        numbers=_numbers(fleet, needs, granted, now),
    )


def _workers(instances: tuple[Instance, ...]) -> tuple[Worker, ...]:
    return tuple(instance.worker for instance in instances if instance.worker is not None)


def _rule(needs: Capacity, granted: int, going: ScaleIn, fleet: Fleet) -> str:
    if granted != fleet.desired:
        return needs.rule
    if needs.rule == "raise":
        return "limit"
    if needs.undo:
        return "undrain"
    return "scale-in" if going.worker is not None else "steady"


def _reason(fleet: Fleet, needs: Capacity, granted: int, going: ScaleIn) -> str:
    """One plain sentence an operator understands."""
    want = f"{fleet.demand} jobs want {needs.wanted} instances"
    have = f"{needs.supply} serve or boot"
    if needs.holding:
        have += f", {needs.holding} hold a slot without serving"
    clamps = _clamps(fleet, needs, granted)
    if going.worker is not None:
        have += f"; {going.worker.instance_id} idle for {going.idle_seconds:.0f} s is surplus"
    elif needs.surplus > 0:
        have += f"; {needs.surplus} surplus: {going.reason}"
    if needs.undo:
        have += f"; {len(needs.undo)} of our drains undone first"
    if fleet.unknown_workflows:
        have += f"; no workflow is named {', '.join(fleet.unknown_workflows)}"
    if fleet.unknown_tags:
        have += f"; no policy is read from {', '.join(fleet.unknown_tags)}"
    return f"{want}, {have}{clamps}"


def _clamps(fleet: Fleet, needs: Capacity, granted: int) -> str:
    if granted < needs.desired:
        return f"; stage limit grants {granted} of {needs.desired}"
    by_backlog = -(-fleet.demand // fleet.policy.backlog_target)
    if by_backlog + needs.holding > fleet.policy.max_size:
        return f"; max {fleet.policy.max_size}"
    return ""


def _numbers(fleet: Fleet, needs: Capacity, granted: int, now: datetime) -> dict[str, object]:
    counts: dict[str, int] = {}
    for where in (needs.standing or {}).values():
        counts[where.value] = counts.get(where.value, 0) + 1
    oldest = fleet.oldest_waiting_at
    return {
        "queued": fleet.queued,
        "leased": fleet.leased,
        "wanted": needs.wanted,
        "supply": needs.supply,
        "holding": needs.holding,
        "existing": needs.existing,
        "target": needs.target,
        "granted": granted,
        "desired": fleet.desired,
        "min": fleet.policy.min_size,
        "max": fleet.policy.max_size,
        "backlog_target": fleet.policy.backlog_target,
        "oldest_waiting_s": None if oldest is None else round(seconds_since(oldest, now)),
        **counts,
    }
