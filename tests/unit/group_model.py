"""What AWS and the database do with a plan, as a few pure lines: the next look's observation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fleet_control.decide.losses import Losses
from fleet_control.decide.model import ZOMBIE, Drain, Fleet, Instance, Lease, Observation, Worker
from fleet_control.decide.pickup import execution_name
from fleet_control.decide.plan import FleetPlan, Plan


def apply(plan: Plan, seen: Observation) -> Observation:
    """The stage as it is a moment later, before any instance has got further or any job has come or ended."""
    by_name = {fleet_plan.fleet: fleet_plan for fleet_plan in plan.fleets}
    fleets = tuple(_fleet(fleet, by_name[fleet.name], plan.losses, seen) for fleet in seen.fleets)
    removed = {worker.instance_id for worker in plan.losses.remove}
    strays = tuple(stray for stray in seen.strays if stray.state == "running" and stray.instance_id not in removed)
    started = {execution_name(w, w.drain, seen.now) for p in plan.fleets for w in p.restart if w.drain}
    started |= {late.execution for p in plan.fleets for late in p.overdue}
    running = None if seen.scale_ins_running is None else seen.scale_ins_running | started
    return replace(seen, fleets=fleets, strays=strays, scale_ins_running=running)


def _fleet(fleet: Fleet, plan: FleetPlan, losses: Losses, seen: Observation) -> Fleet:
    lost = {requeue.lease for requeue in losses.requeue}
    given_back = [held for i in fleet.instances for held in _leases(i) if held in lost and held.is_live(seen.now)]
    members = tuple(_member(instance, plan, losses, lost, seen) for instance in fleet.instances)
    desired = fleet.desired if plan.desired is None else plan.desired
    existing = sum(instance.exists for instance in members)
    launched = tuple(Instance(f"i-{fleet.name}{n}", "Pending", seen.now) for n in range(existing, desired))
    return replace(
        fleet,
        desired=desired,
        instances=members + launched,
        queued=fleet.queued + len(given_back),
        leased=fleet.leased - len(given_back),
        az_rebalance_runs=False,
    )


def _leases(instance: Instance) -> Iterable[Lease]:
    return instance.worker.leases if instance.worker else ()


def _member(instance: Instance, plan: FleetPlan, losses: Losses, lost: set[Lease], seen: Observation) -> Instance:
    worker = instance.worker
    if worker is None or worker in losses.remove:
        return replace(instance, worker=None)
    worker = replace(worker, leases=tuple(held for held in worker.leases if held not in lost))
    if instance.worker in plan.undo:
        worker = replace(worker, draining=False, drain=None, active_at=seen.now)
    if plan.scale_in is not None and plan.scale_in.worker == instance.worker:
        worker = replace(worker, draining=True, drain=Drain(10_000, plan.scale_in.reason, seen.now))
    if instance.worker in plan.zombies:
        worker = replace(worker, draining=True, drain=Drain(10_001, ZOMBIE, seen.now))
    return replace(instance, worker=worker)


def serving(fleet: Fleet) -> list[Worker]:
    return [instance.worker for instance in fleet.instances if instance.worker is not None]
