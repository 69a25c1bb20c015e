"""The `spot_interruption` machine looks at one instance: warned, waited for by its group, or gone.

What it does not live to do, `reconcile` does at its next look.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from fleet_control.decide import hook
from fleet_control.decide.finish import Outlook, outlooks
from fleet_control.decide.losses import Requeue, of_warned, requeue_all
from fleet_control.decide.model import INSTANCE_TERMINATED, SPOT_INTERRUPTION, Lease, Worker
from fleet_control.flows import rows
from fleet_control.flows.hooks import HookPorts, give
from fleet_control.flows.notices import Ports, told
from fleet_control.messages.tasks import InterruptionTask, Notice


def respond(ports: Ports, task: InterruptionTask) -> dict[str, object]:
    """One look at the instance: stop its polls, give its jobs back. Safe to repeat."""
    notice = task.notice
    if notice.kind == "terminating":
        return _answer_hook(ports, notice)
    if notice.kind == "interruption":
        return _warned(ports, notice)
    return _gone(ports, notice)


def _warned(ports: Ports, notice: Notice) -> dict[str, object]:
    """Polls are stopped at once; what cannot end in time is given back at once, the rest shortly before the end."""
    worker, now = _worker(ports, notice.instance_id), ports.jobs.now()
    seen: tuple[Outlook, ...] = ()
    if worker is None or worker.drain is None or worker.drain.reason != SPOT_INTERRUPTION:
        seen = _outlooks(ports, notice, now)
        worker = _marked(ports, notice, worker, seen)
    if worker is None or worker.drain is None:
        lost = requeue_all(_leases(ports, notice.instance_id), SPOT_INTERRUPTION, now)
    else:
        lost = of_warned(worker.drain, worker.leases, now)
    return _responded(ports, notice, lost, worker, seen=seen, again=notice.looks + 1 < notice.max_looks)


def _outlooks(ports: Ports, notice: Notice, now: datetime) -> tuple[Outlook, ...]:
    leases = ports.workers.leases(notice.instance_id)
    if not leases or notice.finish_by is None:
        return ()
    slugs = {row["id"]: row["slug"] for row in ports.jobs.workflows()}
    workflows = sorted({row["workflow_id"] for row in leases} & slugs.keys())
    durations = {slugs[key]: found for key, found in ports.jobs.durations(workflows).items()}
    leased_at = ports.jobs.leased_at([row["id"] for row in leases])
    return outlooks([rows.lease(row, slugs) for row in leases], leased_at, durations, notice.finish_by, now)


def _marked(ports: Ports, notice: Notice, worker: Worker | None, seen: Iterable[Outlook]) -> Worker | None:
    """The worker as it stands after the mark, whoever made it: another look may have been quicker."""
    if worker is None:
        return None
    finishing = [outlook.lease.dispatch_id for outlook in seen if outlook.finishes]
    details = rows.last_jobs(notice.finish_by, finishing) if notice.finish_by else {}
    ports.workers.mark_interrupted(worker.row_id, notice.instance_id, SPOT_INTERRUPTION, details)
    return _worker(ports, notice.instance_id)


def _answer_hook(ports: Ports, notice: Notice) -> dict[str, object]:
    worker, now = _worker(ports, notice.instance_id), ports.jobs.now()
    limits = hook.Limits(notice.drain_limit_seconds, notice.job_timeout_seconds, notice.end_margin_seconds)
    answer = hook.answer(notice.instance_id, worker, limits, notice.polled_at, now)
    requeued = give(HookPorts(ports.jobs, ports.workers, ports.groups), notice.group, answer)
    outcome = "let go" if answer.goes else "waits"
    told(ports, (notice.instance_id, notice.kind), outcome, answer.reason, *answer.requeue)
    polled_at = answer.polled_at or notice.polled_at
    return _next(notice.model_copy(update={"polled_at": polled_at}), again=not answer.goes, requeued=requeued)


def _gone(ports: Ports, notice: Notice) -> dict[str, object]:
    worker, now = _worker(ports, notice.instance_id), ports.jobs.now()
    if worker is not None and notice.kind == "shutting-down":
        ports.workers.mark_interrupted(worker.row_id, notice.instance_id, INSTANCE_TERMINATED)
    lost = requeue_all(_leases(ports, notice.instance_id), INSTANCE_TERMINATED, now)
    answer = _responded(ports, notice, lost, worker, again=False)
    if worker is not None and notice.kind == "terminated":
        ports.workers.remove(worker.row_id, notice.instance_id)
    return answer


def _worker(ports: Ports, instance_id: str) -> Worker | None:
    row = ports.workers.one(instance_id)
    return None if row is None else rows.worker(row, _leases(ports, instance_id))


def _leases(ports: Ports, instance_id: str) -> list[Lease]:
    return [rows.lease(row, {}) for row in ports.workers.leases(instance_id)]


def _responded(
    ports: Ports,
    notice: Notice,
    lost: Iterable[Requeue],
    worker: Worker | None,
    *,
    seen: Iterable[Outlook] = (),
    again: bool,
) -> dict[str, object]:
    row_id = worker.row_id if worker else None
    requeued = [one for one in lost if _requeue(ports, one, row_id)]
    figures = [outlook.figures() for outlook in seen]
    told(ports, (notice.instance_id, notice.kind), "responded", _summary(requeued), *requeued, figures=figures)
    return _next(notice, again=again, requeued=len(requeued))


def _next(notice: Notice, *, again: bool, requeued: int) -> dict[str, object]:
    updated = notice.model_copy(update={"looks": notice.looks + 1})
    return {"notice": updated.model_dump(mode="json"), "next": "wait" if again else "done", "requeued": requeued}


def _requeue(ports: Ports, lost: Requeue, row_id: int | None) -> bool:
    lease = lost.lease
    return ports.jobs.requeue(lease.dispatch_id, lease.token, lost.reason, row_id, lease.worker_id)


def _summary(requeued: list[Requeue]) -> str:
    jobs = ", ".join(str(lost.lease.dispatch_id) for lost in requeued)
    return f"requeued {jobs}" if jobs else "nothing to give back"
