"""Notices about single instances: a Spot warning, or the end. The machine looks again until nothing is left."""

from __future__ import annotations

from dataclasses import dataclass

from fleet_control.act.asg import AutoScaling
from fleet_control.act.jobs import Jobs
from fleet_control.act.machines import Machine
from fleet_control.act.workers import Workers
from fleet_control.decide.losses import Requeue, requeue_all
from fleet_control.decide.model import INSTANCE_TERMINATED, SPOT_INTERRUPTION
from fleet_control.errors import Hold
from fleet_control.flows import rows
from fleet_control.messages.eventbridge import InstanceStateChange, InterruptionWarning
from fleet_control.messages.tasks import InterruptionTask, Notice
from fleet_control.telemetry import Recorder

LOOK_SECONDS = 5
MAX_LOOKS = 25
"""Five seconds apart for the two minutes of a warning: a poll under way can still lease a job after the drain."""


@dataclass(frozen=True, slots=True)
class Ports:
    jobs: Jobs
    workers: Workers
    groups: AutoScaling
    machine: Machine
    recorder: Recorder


def receive(ports: Ports, event: InterruptionWarning | InstanceStateChange) -> dict[str, object]:
    """Start one execution for this instance and notice. Every instance of the account comes by here."""
    instance_id, kind = event.instance_id, event.notice
    if not _is_ours(ports, instance_id, kind):
        return _told(ports, (instance_id, kind), "ignored", "no worker, lease or group of ours knows the instance")
    notice = {
        "instance_id": instance_id,
        "kind": kind,
        "looks": 0,
        "max_looks": MAX_LOOKS,
        "look_seconds": LOOK_SECONDS,
    }
    started = ports.machine.start(f"{instance_id}-{kind}", {"notice": notice})
    return _told(ports, (instance_id, kind), "started" if started else "duplicate", f"{kind} notice")


def respond(ports: Ports, task: InterruptionTask) -> dict[str, object]:
    """One look at the instance: stop its polls, give its jobs back. Safe to repeat."""
    notice = task.notice
    row = ports.workers.one(notice.instance_id)
    row_id = row["id"] if row else None
    if row_id is not None and notice.kind != "terminated":
        ports.workers.mark_interrupted(row_id, notice.instance_id, _reason(notice))
    requeued = [lost for lost in _losses(ports, notice) if _requeue(ports, lost, row_id)]
    if row_id is not None and notice.kind == "terminated":
        ports.workers.remove(row_id, notice.instance_id)
    again = notice.kind == "interruption" and notice.looks + 1 < notice.max_looks
    _told(ports, (notice.instance_id, notice.kind), "responded", _summary(requeued), *requeued)
    updated = notice.model_copy(update={"looks": notice.looks + 1})
    return {"notice": updated.model_dump(mode="json"), "next": "wait" if again else "done", "requeued": len(requeued)}


def _is_ours(ports: Ports, instance_id: str, kind: str) -> bool:
    try:
        if ports.workers.one(instance_id) is not None or ports.workers.leases(instance_id):
            return True
    except Hold:
        # Two minutes are short: the machine repeats its looks from the first second on, this delivery after one minute.
        if ports.groups.group_of(instance_id) is None:
            raise
        return True
    # Warned before it has registered: its first poll must find it drained.
    return kind == "interruption" and ports.groups.group_of(instance_id) is not None


def _reason(notice: Notice) -> str:
    return SPOT_INTERRUPTION if notice.kind == "interruption" else INSTANCE_TERMINATED


def _losses(ports: Ports, notice: Notice) -> list[Requeue]:
    leases = [rows.lease(row, {}) for row in ports.workers.leases(notice.instance_id)]
    return requeue_all(leases, _reason(notice), ports.jobs.now())


def _requeue(ports: Ports, lost: Requeue, row_id: int | None) -> bool:
    lease = lost.lease
    return ports.jobs.requeue(lease.dispatch_id, lease.token, lost.reason, row_id, lease.worker_id)


def _summary(requeued: list[Requeue]) -> str:
    jobs = ", ".join(str(lost.lease.dispatch_id) for lost in requeued)
    return f"requeued {jobs}" if jobs else "it held no job"


def _told(ports: Ports, notice: tuple[str, str], outcome: str, reason: str, *requeued: Requeue) -> dict[str, object]:
    instance_id, kind = notice
    ports.recorder.decision(
        fleet="*",
        rule=f"spot {kind}",
        reason=reason,
        outcome=outcome,
        instance_id=instance_id,
        requeued=[lost.lease.dispatch_id for lost in requeued],
    )
    return {"outcome": outcome, "reason": reason, "instance_id": instance_id}
