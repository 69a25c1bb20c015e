"""Look at the whole stage, decide, act: the only writer of desired capacity."""

from __future__ import annotations

from dataclasses import dataclass, field

from botocore.exceptions import BotoCoreError, ClientError

from fleet_control.act.asg import AutoScaling
from fleet_control.act.database import Database
from fleet_control.act.ec2 import Ec2
from fleet_control.act.jobs import Jobs
from fleet_control.act.machines import Machine
from fleet_control.act.workers import Workers
from fleet_control.decide.capacity import Size, still_right
from fleet_control.decide.losses import Losses, Requeue
from fleet_control.decide.model import ZOMBIE, Fleet, HeldFleet, Observation, Worker
from fleet_control.decide.plan import FleetPlan, Plan, plan
from fleet_control.decide.turn import in_turn
from fleet_control.errors import FleetControlError, Hold
from fleet_control.flows.drains import WayDown
from fleet_control.flows.hooks import HookPorts, give
from fleet_control.flows.observe import observe
from fleet_control.telemetry import Recorder


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything a look at the stage touches."""

    stage: str
    worker_limit: int
    database: Database
    jobs: Jobs
    workers: Workers
    groups: AutoScaling
    ec2: Ec2
    scale_in: Machine
    recorder: Recorder


@dataclass(slots=True)
class Result:
    """`outcome` is acted, busy (somebody else looks this moment) or hold (blind: nothing was changed). `unknown` counts
    what the trigger was about and no fleet is, `unknown_workflows` what tags name and the database does not know,
    `unknown_tags` the tags that look like policy and are none."""

    outcome: str
    reason: str = ""
    fleets: int = 0
    held: int = 0
    failures: int = 0
    unknown: int = 0
    unknown_workflows: int = 0
    blocked: dict[str, float] = field(default_factory=dict)
    """Seconds for which AWS has refused to launch, by fleet."""
    breakers: tuple[str, ...] = ()
    """Fleets whose launches never register: their breaker is open."""
    unknown_tags: int = 0


def reconcile(ports: Ports, trigger: str, about: frozenset[str] = frozenset()) -> Result:
    """One look. Holds when blind; a change that fails is recorded, the others are still made.

    `about` are the groups and workflows that the trigger names; the whole stage is looked at all the same.
    """
    try:
        with ports.database.stage_lock(f"fleet-control-{ports.stage}") as ours:
            if not ours:
                ports.recorder.decision(fleet="*", rule="busy", reason="another look is under way", trigger=trigger)
                return Result("busy", "another look is under way")
            observation = observe(ports.jobs, ports.workers, ports.groups, ports.ec2, ports.scale_in)
            turn = in_turn(plan(observation, ports.worker_limit), observation.now)
            result = act(ports, observation, turn.plan, trigger)
            if turn.put_off:
                ports.recorder.decision(
                    fleet="*", rule="put off", reason=turn.reason, numbers=dict(turn.put_off), trigger=trigger
                )
            result.unknown = _unknown(ports.recorder, observation, trigger, about)
            return result
    except Hold as hold:
        ports.recorder.decision(fleet="*", rule="hold", reason=f"{hold.reason}: {hold}", trigger=trigger)
        return Result("hold", hold.reason)


def _unknown(recorder: Recorder, observation: Observation, trigger: str, about: frozenset[str]) -> int:
    known = {name for fleet in observation.fleets for name in (fleet.name, *fleet.policy.workflows)}
    known |= {name for held in observation.held for name in (held.name, *held.workflows)}
    strange = sorted(about - known)
    if strange:
        reason = f"no fleet of the stage is or serves {', '.join(strange)}"
        recorder.decision(fleet="*", rule="unknown", reason=reason, trigger=trigger)
    return len(strange)


def act(ports: Ports, observation: Observation, decided: Plan, trigger: str) -> Result:
    """Jobs first, then capacity, then what goes down."""
    result = Result("acted", fleets=len(decided.fleets), held=sum(p.rule == "hold" for p in decided.fleets))
    result.blocked = {p.fleet: p.blocked_seconds for p in decided.fleets if p.blocked_seconds is not None}
    result.breakers = tuple(p.fleet for p in decided.fleets if p.breaker_open)
    result.unknown_workflows = sum(len(fleet.unknown_workflows) for fleet in observation.fleets)
    result.unknown_tags = sum(len(fleet.unknown_tags) for fleet in observation.fleets)
    result.failures += clean_up(ports, decided.losses)
    fleets: dict[str, Fleet | HeldFleet] = {fleet.name: fleet for fleet in observation.fleets}
    fleets |= {fleet.name: fleet for fleet in observation.held}
    for fleet_plan in decided.fleets:
        _record(ports.recorder, fleet_plan, trigger)
        result.failures += _attempt(ports, fleets[fleet_plan.fleet], fleet_plan, observation)
        result.failures += _answer_hooks(ports, fleet_plan)
    return result


def _attempt(ports: Ports, fleet: Fleet | HeldFleet, fleet_plan: FleetPlan, observation: Observation) -> int:
    """One fleet's failing call must not keep the others waiting; it is told, counted, and tried at the next look."""
    try:
        _change(ports, fleet, fleet_plan, observation)
    except (ClientError, BotoCoreError, FleetControlError) as error:
        ports.recorder.failure(error, fleet=fleet.name, rule=fleet_plan.rule)
        return 1
    return 0


def _answer_hooks(ports: Ports, fleet_plan: FleetPlan) -> int:
    """Each on its own: an instance that is kept waiting by one failing call must not be joined by others."""
    failures = 0
    for answer in fleet_plan.hooks:
        try:
            give(HookPorts(ports.jobs, ports.workers, ports.groups), fleet_plan.fleet, answer)
        except (ClientError, BotoCoreError, FleetControlError) as error:
            ports.recorder.failure(error, fleet=fleet_plan.fleet, rule="hook", instance_id=answer.instance_id)
            failures += 1
    return failures


def _change(ports: Ports, fleet: Fleet | HeldFleet, fleet_plan: FleetPlan, observation: Observation) -> None:
    down = WayDown(ports.workers, ports.scale_in, fleet.name, fleet.policy, observation.now)
    for worker in fleet_plan.undo:
        if worker.drain is not None:
            ports.workers.undrain(worker.row_id, worker.instance_id, worker.drain.row_id, "demand has come back")
    if fleet_plan.hold_launches:
        ports.groups.hold_launches(fleet.name)
    as_planned = True
    if fleet_plan.desired is not None and isinstance(fleet, Fleet):
        as_planned = _set_desired(ports.groups, fleet, fleet_plan.desired, bounded=fleet_plan.bounded)
    if fleet_plan.resume_launches and as_planned:
        ports.groups.resume_launches(fleet.name)
    going = fleet_plan.scale_in
    if going is not None and going.worker is not None:
        down.begin(going.worker, going.reason)
    for worker in fleet_plan.zombies:
        down.begin(worker, ZOMBIE)
    for late in fleet_plan.overdue:
        down.replace(late)
    for worker in fleet_plan.restart:
        if worker.drain is not None:
            down.start(worker, worker.drain)
    if fleet_plan.suspend_az_rebalance:
        ports.groups.suspend_az_rebalance(fleet.name)


def _set_desired(groups: AutoScaling, fleet: Fleet, desired: int, *, bounded: bool) -> bool:
    """The look took its time, and `scale_in` lowers desired when it terminates: the group is read once more. False when
    that has overtaken the decision."""
    group = groups.group(fleet.name)
    if group is None:
        return False
    members = frozenset(instance.id for instance in fleet.instances if instance.is_counted)
    then, now = Size(fleet.desired, members, fleet.launches.unseen), Size(group.desired, group.members)
    fresh = still_right(desired, then, now, bounded=bounded)
    if fresh is not None:
        groups.set_desired(fleet.name, fresh)
    return fresh is not None


def clean_up(ports: Ports, losses: Losses) -> int:
    """Requeue before the row goes: the row is what tells that there was something to requeue. Number of failures."""
    rows = {worker.instance_id: worker.row_id for worker in losses.remove}
    kept = [
        lost.lease.worker_id for lost in losses.requeue if not _requeued(ports, lost, rows.get(lost.lease.worker_id))
    ]
    # A job that cannot be given back keeps the row of its own worker, and nobody else's.
    return len(kept) + sum(not _removed(ports, w) for w in losses.remove if w.instance_id not in kept)


def _requeued(ports: Ports, lost: Requeue, row_id: int | None) -> bool:
    lease = lost.lease
    about = {"fleet": "*", "rule": "requeue", "dispatch_id": lease.dispatch_id, "instance_id": lease.worker_id}
    try:
        done = ports.jobs.requeue(lease.dispatch_id, lease.token, lost.reason, row_id, lease.worker_id)
    except FleetControlError as error:
        ports.recorder.failure(error, **about)
        return False
    why = f"{lost.reason}: {lost.because}" if lost.because else lost.reason
    ports.recorder.decision(**about, reason=why if done else "somebody else was first", requeued=done)
    return True


def _removed(ports: Ports, worker: Worker) -> bool:
    about = {"fleet": "*", "rule": "remove", "instance_id": worker.instance_id}
    try:
        done = ports.workers.remove(worker.row_id, worker.instance_id)
    except FleetControlError as error:
        ports.recorder.failure(error, **about)
        return False
    ports.recorder.decision(**about, reason="the instance no longer exists", removed=done)
    return True


def _record(recorder: Recorder, fleet_plan: FleetPlan, trigger: str) -> None:
    recorder.decision(
        fleet=fleet_plan.fleet,
        rule=fleet_plan.rule,
        reason=fleet_plan.reason,
        set_desired=fleet_plan.desired,
        undrain=[worker.instance_id for worker in fleet_plan.undo],
        scale_in=fleet_plan.scale_in.worker.instance_id if fleet_plan.scale_in and fleet_plan.scale_in.worker else None,
        restart=[worker.instance_id for worker in fleet_plan.restart],
        suspend_az_rebalance=fleet_plan.suspend_az_rebalance,
        hold_launches=fleet_plan.hold_launches,
        resume_launches=fleet_plan.resume_launches,
        zombies=[worker.instance_id for worker in fleet_plan.zombies],
        overdue=[late.instance_id for late in fleet_plan.overdue],
        hooks={a.instance_id: f"{'continue' if a.goes else 'wait'}: {a.reason}" for a in fleet_plan.hooks},
        numbers=dict(fleet_plan.numbers or {}),
        trigger=trigger,
    )
