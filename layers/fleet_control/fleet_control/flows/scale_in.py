"""One drain on its way: look, then terminate or let the worker serve on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from math import ceil

from fleet_control.act.asg import AutoScaling
from fleet_control.act.database import Database
from fleet_control.act.jobs import Jobs
from fleet_control.act.workers import Workers
from fleet_control.decide import scale_in as decide
from fleet_control.decide.model import ZOMBIE, Worker
from fleet_control.errors import LockBusy
from fleet_control.flows import rows
from fleet_control.messages.tasks import DrainOnItsWay, OverdueOnItsWay, ScaleInTask
from fleet_control.telemetry import Recorder


@dataclass(frozen=True, slots=True)
class Ports:
    database: Database
    jobs: Jobs
    workers: Workers
    groups: AutoScaling
    recorder: Recorder


def scale_in(ports: Ports, task: ScaleInTask) -> dict[str, object]:
    """The drain with `next`: wait, terminate, release or done. Raises Hold: DatabaseUnavailable and its like."""
    if isinstance(task.drain, OverdueOnItsWay):
        return _overdue(ports, task, task.drain)
    return _drained(ports, task, task.drain)


def _drained(ports: Ports, task: ScaleInTask, drain: DrainOnItsWay) -> dict[str, object]:
    worker = _worker(ports, drain.instance_id)
    waiting = ports.jobs.waiting(drain.workflows)
    now = ports.jobs.now()
    verdict = decide.look(
        worker,
        drain_id=drain.drain_id,
        waiting=waiting,
        limit_seconds=drain.limit_seconds,
        polled_at=drain.polled_at,
        now=now,
        others_at=_others_at(ports, worker),
    )
    if task.step == "release":
        verdict = _release(ports, drain, worker)
    elif task.step == "terminate" and verdict.next is decide.Next.TERMINATE and worker is not None:
        verdict = _terminate(ports, drain, worker)
    _record(ports.recorder, task, verdict)
    look_seconds = max(drain.look_seconds, ceil(verdict.rest))
    updated = drain.model_copy(update={"polled_at": verdict.polled_at or drain.polled_at, "look_seconds": look_seconds})
    return {"drain": updated.model_dump(mode="json"), "next": verdict.next.value, "reason": verdict.reason}


def _worker(ports: Ports, instance_id: str) -> Worker | None:
    row = ports.workers.one(instance_id)
    if row is None:
        return None
    return rows.worker(row, [rows.lease(found, {}) for found in ports.workers.leases(instance_id)])


def _others_at(ports: Ports, worker: Worker | None) -> datetime | None:
    """Asked for a zombie alone: all other drains are of workers that have been heard of."""
    if worker is None or worker.drain is None or worker.drain.reason != ZOMBIE:
        return None
    return ports.workers.heard_beside(worker.instance_id)


def _terminate(ports: Ports, going: DrainOnItsWay, worker: Worker) -> decide.Verdict:
    """Commit first, then kill: once committed nobody undoes the drain, so no job can slip in between."""
    drain = worker.drain
    if drain is None:
        return decide.Verdict(decide.Next.DONE, "no drain")
    if not drain.committed and not ports.workers.commit_drain(
        worker.row_id, worker.instance_id, drain.row_id, drain.reason
    ):
        return decide.Verdict(decide.Next.RELEASE, "a job or an undrain came at the last moment")
    return _take_out(ports, going.group, going.instance_id, keep_desired=False)


def _take_out(ports: Ports, name: str, instance_id: str, *, keep_desired: bool) -> decide.Verdict:
    """One at a time in a group: two that read it side by side might both leave desired as it is, for one to spare."""
    with ports.database.stage_lock(f"terminate-{name}") as alone:
        if not alone:
            raise LockBusy(f"another instance of {name} is being terminated")
        return _terminated(ports, name, instance_id, keep_desired=keep_desired)


def _terminated(ports: Ports, name: str, instance_id: str, *, keep_desired: bool) -> decide.Verdict:
    group = ports.groups.group(name)
    if group is None:
        return decide.Verdict(decide.Next.DONE, f"group {name} is gone")
    if not any(i.id == instance_id and not i.lifecycle.startswith("Terminating") for i in group.instances):
        # A repeated step must not lower desired a second time.
        return decide.Verdict(decide.Next.DONE, "the group is rid of the instance already")
    lower = not keep_desired and decide.decrement(group.desired, group.existing, group.min_size)
    known = ports.groups.terminate(instance_id, decrement=lower)
    how = f"terminated, desired {'lowered' if lower else 'kept'} at {group.desired - lower}"
    return decide.Verdict(decide.Next.DONE, how if known else "the group no longer knows the instance")


def _overdue(ports: Ports, task: ScaleInTask, late: OverdueOnItsWay) -> dict[str, object]:
    """The same steps for an instance without a worker: there is nothing to drain, and nothing to release."""
    registered = ports.workers.one(late.instance_id) is not None
    others_at = ports.workers.heard_beside(late.instance_id)
    now = ports.jobs.now()
    verdict = decide.look_overdue(registered, late.since, late.limit_seconds, now, others_at, heard_at=late.heard_at)
    look_seconds = max(late.look_seconds, ceil(verdict.rest))
    late = late.model_copy(update={"heard_at": verdict.polled_at or late.heard_at, "look_seconds": look_seconds})
    if task.step == "release":
        verdict = decide.Verdict(decide.Next.DONE, "left to the next look")
    elif task.step == "terminate" and verdict.next is decide.Next.TERMINATE:
        verdict = _take_out(ports, late.group, late.instance_id, keep_desired=late.keep_desired)
    _record(ports.recorder, task, verdict)
    return {"drain": late.model_dump(mode="json"), "next": verdict.next.value, "reason": verdict.reason}


def _release(ports: Ports, going: DrainOnItsWay, worker: Worker | None) -> decide.Verdict:
    if worker is None:
        return decide.Verdict(decide.Next.DONE, "the worker's row is gone")
    undone = ports.workers.undrain(going.worker_row_id, going.instance_id, going.drain_id, "scale-in aborted")
    return decide.Verdict(decide.Next.DONE, "serves on" if undone else "the drain is no longer ours to undo")


def _record(recorder: Recorder, task: ScaleInTask, verdict: decide.Verdict) -> None:
    recorder.decision(
        fleet=task.drain.group,
        rule=f"scale-in {task.step}",
        reason=verdict.reason,
        instance_id=task.drain.instance_id,
        next=verdict.next.value,
        drain_id=task.drain.drain_id if isinstance(task.drain, DrainOnItsWay) else None,
    )
