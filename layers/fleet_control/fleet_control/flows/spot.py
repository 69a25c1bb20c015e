"""What a notice and its machine's looks have in common: the systems they ask, and how they tell what was done."""

from __future__ import annotations

from dataclasses import dataclass

from fleet_control.act.asg import AutoScaling
from fleet_control.act.ec2 import Ec2
from fleet_control.act.jobs import Jobs
from fleet_control.act.machines import Machine
from fleet_control.act.workers import Workers
from fleet_control.decide.losses import Requeue
from fleet_control.telemetry import Recorder


@dataclass(frozen=True, slots=True)
class Ports:
    jobs: Jobs
    workers: Workers
    groups: AutoScaling
    ec2: Ec2
    machine: Machine
    recorder: Recorder


def told(
    ports: Ports, notice: tuple[str, str], outcome: str, reason: str, *requeued: Requeue, **more: object
) -> dict[str, object]:
    instance_id, kind = notice
    ports.recorder.decision(
        fleet="*",
        rule=f"spot {kind}",
        reason=reason,
        outcome=outcome,
        instance_id=instance_id,
        requeued=[lost.lease.dispatch_id for lost in requeued],
        **more,
    )
    return {"outcome": outcome, "reason": reason, "instance_id": instance_id}
