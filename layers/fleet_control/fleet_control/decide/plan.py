"""The whole stage's plan: each fleet's decision with its reason, and what to clean up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fleet_control.decide.capacity import Capacity, capacity
from fleet_control.decide.hook import Answer, answers
from fleet_control.decide.launches import advice
from fleet_control.decide.limit import Request, grant
from fleet_control.decide.losses import Losses, losses
from fleet_control.decide.model import REBALANCE, ZOMBIE, Fleet, HeldFleet, Instance, Observation, Worker
from fleet_control.decide.overdue import Overdue, overdue
from fleet_control.decide.pickup import abandoned_drains
from fleet_control.decide.silence import Silence, forgotten, quiet, silence, timed_out, zombies
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
    hold_launches: bool = False
    resume_launches: bool = False
    hooks: tuple[Answer, ...] = ()
    zombies: tuple[Worker, ...] = ()
    overdue: tuple[Overdue, ...] = ()
    blocked_seconds: float | None = None
    """For how long AWS has refused to launch what is asked for; None when it does not."""
    breaker_open: bool = False
    bounded: bool = False
    """Whether the breaker allows only so many launches."""
    numbers: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    fleets: tuple[FleetPlan, ...]
    losses: Losses


def plan(observation: Observation, worker_limit: int) -> Plan:
    """Pure: the same observation always gives the same plan."""
    heard = silence(observation)
    held = [_hold(fleet, fleet.reason, {}, observation) for fleet in observation.held]
    if heard.backend_away:
        told = {"silent": heard.unexplained, "workers": heard.workers}
        away = [_hold(fleet, heard.reason, told, observation) for fleet in observation.fleets]
        return Plan((*away, *held), losses(observation))
    blind = [fleet for fleet in observation.fleets if fleet.launches.unread]
    held += [_hold(fleet, fleet.launches.unread, {}, observation) for fleet in blind]
    lost = losses(observation, timed_out(observation, heard), forgotten(observation))
    return Plan((*_decided(observation, blind, heard, worker_limit), *held), lost)


def _decided(observation: Observation, blind: list[Fleet], heard: Silence, worker_limit: int) -> list[FleetPlan]:
    """Of every fleet that is not on hold."""
    fleets = [fleet for fleet in observation.fleets if fleet not in blind]
    capacities = {fleet.name: capacity(fleet, observation.now) for fleet in fleets}
    requests = [_request(f, capacities[f.name]) for f in fleets]
    reserved = sum(held.desired for held in observation.held) + sum(fleet.desired for fleet in blind)
    granted = grant(requests, worker_limit, reserved)
    return [_fleet_plan(f, capacities[f.name], granted[f.name], observation, heard) for f in fleets]


def _request(fleet: Fleet, needs: Capacity) -> Request:
    return Request(fleet.name, fleet.desired, needs.desired, fleet.oldest_waiting_at, needs.floor)


def _hold(fleet: Fleet | HeldFleet, reason: str, numbers: Mapping[str, object], observation: Observation) -> FleetPlan:
    """Nothing new is begun. What AWS waits for is answered all the same, and a drain whose machine has died gets
    another: an instance that was on its way out before the hold goes, whoever is away."""
    now, told = observation.now, {"desired": fleet.desired, **numbers}
    restart = tuple(
        w for w in abandoned_drains(fleet, (), observation.scale_ins_running, now) if _can_be_judged(w, fleet)
    )
    return FleetPlan(fleet.name, "hold", reason, restart=restart, hooks=answers(fleet, now), numbers=told)


def _can_be_judged(worker: Worker, fleet: Fleet | HeldFleet) -> bool:
    """A zombie may be silent for what the hold is for; and without workflows nobody can see whether a job waits."""
    return worker.drain is not None and worker.drain.reason != ZOMBIE and bool(fleet.policy.workflows)


def _fleet_plan(fleet: Fleet, needs: Capacity, granted: int, observation: Observation, heard: Silence) -> FleetPlan:
    now, running = observation.now, observation.scale_ins_running
    going, unheard = choose(fleet, needs, now), quiet(heard, fleet.policy, now)
    dead = () if unheard else zombies(fleet, heard)
    late = () if unheard else overdue(fleet, needs, granted, running, now)
    blocked = _blocked_seconds(fleet, needs, now)
    return FleetPlan(
        fleet=fleet.name,
        rule=_rule(needs, granted, going, fleet),
        reason=_reason(fleet, needs, granted, going) + _launches(fleet, needs, blocked) + _gone(dead, late),
        desired=None if granted == fleet.desired else granted,
        undo=_workers(needs.undo),
        scale_in=going if going.worker is not None else None,
        restart=abandoned_drains(fleet, needs.undo, running, now),
        suspend_az_rebalance=fleet.az_rebalance_runs,
        hold_launches=needs.breaker.holds and not (fleet.launches_held or fleet.launches_stopped),
        resume_launches=(fleet.launches_held or fleet.mark_left) and not needs.breaker.holds,
        hooks=answers(fleet, now),
        zombies=dead,
        overdue=late,
        blocked_seconds=blocked,
        breaker_open=needs.breaker.is_open,
        bounded=needs.breaker.launches is not None,
        numbers=_numbers(fleet, needs, granted, now),
    )


def _blocked_seconds(fleet: Fleet, needs: Capacity, now: datetime) -> float | None:
    """Only while the group asks for more than it has: nobody is blocked who wants nothing."""
    since = fleet.launches.blocked_since
    # AWS's clock may be a moment ahead of the database's.
    return max(0.0, seconds_since(since, now)) if since is not None and needs.existing < fleet.desired else None


def _workers(instances: tuple[Instance, ...]) -> tuple[Worker, ...]:
    return tuple(instance.worker for instance in instances if instance.worker is not None)


def _rule(needs: Capacity, granted: int, going: ScaleIn, fleet: Fleet) -> str:
    if granted < min(fleet.desired, needs.desired):
        return "limit"
    if granted != fleet.desired:
        return needs.rule
    if needs.rule in ("raise", "probe"):
        return "limit"
    if needs.undo:
        return "undrain"
    if going.worker is not None:
        return "scale-in"
    return "breaker" if needs.breaker.is_open and needs.supply < needs.wanted else "steady"


def _reason(fleet: Fleet, needs: Capacity, granted: int, going: ScaleIn) -> str:
    """One plain sentence an operator understands."""
    want = f"{fleet.demand} jobs want {needs.wanted} instances"
    have = f"{needs.supply} serve or boot"
    if needs.holding:
        have += f", {needs.holding} hold a slot without serving"
    clamps = _clamps(fleet, needs, granted)
    if going.worker is not None:
        have += f"; {going.worker.instance_id} {_why_it_goes(going)}"
    elif needs.surplus > 0:
        have += f"; {needs.surplus} surplus: {going.reason}"
    if needs.undo:
        have += f"; {len(needs.undo)} of our drains undone first"
    if fleet.unknown_workflows:
        have += f"; no workflow is named {', '.join(fleet.unknown_workflows)}"
    if fleet.unknown_tags:
        have += f"; no policy is read from {', '.join(fleet.unknown_tags)}"
    return f"{want}, {have}{clamps}"


def _launches(fleet: Fleet, needs: Capacity, blocked: float | None) -> str:
    """What stands in the way of a launch, in AWS's words and ours."""
    told = f"; {needs.breaker.reason}" if needs.breaker.reason else ""
    if needs.breaker.holds:
        told += ", and its group launches nothing by itself"
    if fleet.launches_stopped:
        told += "; somebody else has suspended its group's process Launch: resume it, or nothing is launched"
    refused = fleet.launches.refused
    if blocked is not None and refused is not None:
        told += f"; capacity blocked for {blocked:.0f} s: {advice(refused.code)} ({refused.message})"
    if needs.rule == "reset":
        told += f"; desired {fleet.desired} is far above that and is taken back to {needs.desired}"
    return told


def _gone(dead: tuple[Worker, ...], late: tuple[Overdue, ...]) -> str:
    told = f"; {', '.join(w.instance_id for w in dead)} silent without a lease: replaced" if dead else ""
    return told + (f"; {', '.join(one.instance_id for one in late)} never registered: goes" if late else "")


def _why_it_goes(going: ScaleIn) -> str:
    if going.reason == REBALANCE:
        return "has been replaced, its replacement serves"
    return f"idle for {going.idle_seconds:.0f} s is surplus"


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
        "failed_launches": fleet.launches.failed_in_a_row,
        "oldest_waiting_s": None if oldest is None else round(seconds_since(oldest, now)),
        **counts,
    }
