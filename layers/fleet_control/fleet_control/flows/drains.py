"""Drain a worker and start its `scale_in`: the beginning of every way down."""

from __future__ import annotations

from datetime import datetime

from fleet_control.act.asg import Group
from fleet_control.act.machines import Machine
from fleet_control.act.workers import Workers
from fleet_control.decide.model import Drain, Policy, Worker
from fleet_control.decide.pickup import execution_name


def begin(
    workers: Workers, machine: Machine, worker: Worker, reason: str, group: str, policy: Policy, now: datetime
) -> bool:
    """False when somebody else has drained it meanwhile. Should the start fail, the drain stands and is picked up."""
    drain_id = workers.drain(worker.row_id, worker.instance_id, reason)
    if drain_id is None:
        return False
    start(machine, worker, Drain(drain_id, reason, now), group, policy, now)
    return True


def start(machine: Machine, worker: Worker, drain: Drain, group: str, policy: Policy, now: datetime) -> bool:
    """False when this drain has its execution already."""
    return machine.start(execution_name(worker, drain, now), scale_in_input(worker, drain, group, policy))


def scale_in_input(worker: Worker, drain: Drain, group: str, policy: Policy) -> dict[str, object]:
    """The machine's input; `messages.tasks.DrainOnItsWay` gives the shape and units of `drain`."""
    return {
        "drain": {
            "instance_id": worker.instance_id,
            "worker_row_id": worker.row_id,
            "drain_id": drain.row_id,
            "group": group,
            "workflows": list(policy.workflows),
            "look_seconds": policy.drain_look_seconds,
            "limit_seconds": policy.drain_limit_seconds,
            "polled_at": None,
        }
    }
