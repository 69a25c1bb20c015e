"""One drain on its way: look, then terminate or let the worker serve on."""

from __future__ import annotations

from dataclasses import dataclass

from fleet_control.act.asg import AutoScaling
from fleet_control.act.jobs import Jobs
from fleet_control.act.workers import Workers
from fleet_control.decide import scale_in as decide
from fleet_control.decide.model import Worker
from fleet_control.flows import rows
from fleet_control.messages.tasks import DrainOnItsWay, ScaleInTask
from fleet_control.telemetry import Recorder


@dataclass(frozen=True, slots=True)
class Ports:
    jobs: Jobs
    workers: Workers
    groups: AutoScaling
    recorder: Recorder


def scale_in(ports: Ports, task: ScaleInTask) -> dict[str, object]:
    """The drain with `next`: wait, terminate, release or done. Raises DatabaseUnavailable and its like."""
    drain = task.drain
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
    )
    if task.step == "release":
        verdict = _release(ports, drain, worker)
    elif task.step == "terminate" and verdict.next is decide.Next.TERMINATE and worker is not None:
        verdict = _terminate(ports, drain, worker)
    _record(ports.recorder, task, verdict)
    updated = drain.model_copy(update={"polled_at": verdict.polled_at or drain.polled_at})
    return {"drain": updated.model_dump(mode="json"), "next": verdict.next.value, "reason": verdict.reason}


def _worker(ports: Ports, instance_id: str) -> Worker | None:
    row = ports.workers.one(instance_id)
    if row is None:
        return None
    return rows.worker(row, [rows.lease(found, {}) for found in ports.workers.leases(instance_id)])


def _terminate(ports: Ports, going: DrainOnItsWay, worker: Worker) -> decide.Verdict:
    """Commit first, then kill: once committed nobody undoes the drain, so no job can slip in between."""
    drain = worker.drain
    if drain is None:
        return decide.Verdict(decide.Next.DONE, "no drain")
    if not drain.committed and not ports.workers.commit_drain(
        worker.row_id, worker.instance_id, drain.row_id, drain.reason
    ):
        return decide.Verdict(decide.Next.RELEASE, "a job or an undrain came at the last moment")
    group = ports.groups.group(going.group)
    if group is None:
        return decide.Verdict(decide.Next.DONE, f"group {going.group} is gone")
    if not any(i.id == going.instance_id and not i.lifecycle.startswith("Terminating") for i in group.instances):
        # A repeated step must not lower desired a second time.
        return decide.Verdict(decide.Next.DONE, "the group is rid of the instance already")
    lower = decide.decrement(group.desired, group.existing, group.min_size)
    known = ports.groups.terminate(going.instance_id, decrement=lower)
    how = f"terminated, desired {'lowered' if lower else 'kept'} at {group.desired - lower}"
    return decide.Verdict(decide.Next.DONE, how if known else "the group no longer knows the instance")


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
        drain_id=task.drain.drain_id,
    )
