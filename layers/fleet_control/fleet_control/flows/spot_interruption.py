"""The `spot_interruption` machine looks at one instance: warned, waited for by its group, or gone.

What it does not live to do, `reconcile` does at its next look.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from fleet_control.decide import hook, looks
from fleet_control.decide.finish import Outlook, outlooks
from fleet_control.decide.losses import Requeue, of_warned, requeue_all
from fleet_control.decide.model import INSTANCE_TERMINATED, SPOT_INTERRUPTION, Lease, Worker
from fleet_control.flows import rows
from fleet_control.flows.hooks import HookPorts, give
from fleet_control.flows.spot import Ports, told
from fleet_control.messages.tasks import InterruptionTask, Notice


def respond(ports: Ports, task: InterruptionTask) -> dict[str, object]:
    """One look at the instance: stop its polls, give its jobs back. Safe to repeat."""
    notice = task.notice
    if notice.kind == "terminating":
        return _answer_hook(ports, notice)
    if notice.kind == "interruption":
        return _warned(ports, notice)
    answer = gone(ports, notice.instance_id, notice.kind)
    return _next(notice, None, requeued=answer["requeued"])


def _warned(ports: Ports, notice: Notice) -> dict[str, object]:
    """Polls are stopped at once; what cannot end in time is given back at once, the rest shortly before the end.
    Whoever has not registered may yet do so as long as its instance lives."""
    worker, now = _worker(ports, notice.instance_id), ports.jobs.now()
    seen: tuple[Outlook, ...] = ()
    if worker is None or worker.drain is None or worker.drain.reason != SPOT_INTERRUPTION:
        seen = _outlooks(ports, notice, now)
        worker = _marked(ports, notice, worker, seen)
    look = looks.first_look(notice.end_margin_seconds)
    if worker is None or worker.drain is None:
        lost, then = requeue_all(_leases(ports, notice.instance_id), SPOT_INTERRUPTION, now), looks.NextLook(look)
    else:
        lost = of_warned(worker.drain, worker.leases, now)
        limit, polled_at = notice.drain_limit_seconds, notice.polled_at
        then = looks.after_warning(worker, worker.drain, look=look, limit=limit, polled_at=polled_at, now=now)
    requeued = _give_back(ports, lost, worker)
    figures = [outlook.figures() for outlook in seen]
    told(ports, (notice.instance_id, notice.kind), "responded", _summary(requeued), *requeued, figures=figures)
    again = then.seconds if notice.looks + 1 < notice.max_looks else None
    return _next(notice, again, polled_at=then.polled_at, requeued=len(requeued))


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


def let_go(ports: Ports, notice: Notice) -> dict[str, object] | None:
    """The answer to a hook that has nothing to wait for; else None, and nothing is done. Raises Hold."""
    answer, _ = _to_hook(ports, notice)
    return _given(ports, notice, answer) if answer.goes else None


def _answer_hook(ports: Ports, notice: Notice) -> dict[str, object]:
    answer, now = _to_hook(ports, notice)
    requeued = _given(ports, notice, answer)["requeued"]
    again = None if answer.goes else looks.for_hook(answer, looks.first_look(notice.end_margin_seconds), now)
    return _next(notice, again, polled_at=answer.polled_at, requeued=requeued)


def _to_hook(ports: Ports, notice: Notice) -> tuple[hook.Answer, datetime]:
    worker, now = _worker(ports, notice.instance_id), ports.jobs.now()
    limits = hook.Limits(notice.drain_limit_seconds, notice.job_timeout_seconds, notice.end_margin_seconds)
    return hook.answer(notice.instance_id, worker, limits, notice.polled_at, now), now


def _given(ports: Ports, notice: Notice, answer: hook.Answer) -> dict[str, object]:
    requeued = give(HookPorts(ports.jobs, ports.workers, ports.groups), notice.group, answer)
    outcome = "let go" if answer.goes else "waits"
    return told(ports, (notice.instance_id, notice.kind), outcome, answer.reason, *answer.requeue) | {
        "requeued": requeued
    }


def gone(ports: Ports, instance_id: str, kind: str) -> dict[str, object]:
    """Give back what an instance held that is `shutting-down` or `terminated`; of the latter the row goes, too. Safe to
    repeat. Raises Hold."""
    worker, now = _worker(ports, instance_id), ports.jobs.now()
    if worker is not None and kind == "shutting-down":
        ports.workers.mark_interrupted(worker.row_id, instance_id, INSTANCE_TERMINATED)
    lost = requeue_all(_leases(ports, instance_id), INSTANCE_TERMINATED, now)
    requeued = _give_back(ports, lost, worker)
    answer = told(ports, (instance_id, kind), "responded", _summary(requeued), *requeued)
    if worker is not None and kind == "terminated":
        ports.workers.remove(worker.row_id, instance_id)
    return answer | {"requeued": len(requeued)}


def _worker(ports: Ports, instance_id: str) -> Worker | None:
    row = ports.workers.one(instance_id)
    return None if row is None else rows.worker(row, _leases(ports, instance_id))


def _leases(ports: Ports, instance_id: str) -> list[Lease]:
    return [rows.lease(row, {}) for row in ports.workers.leases(instance_id)]


def _give_back(ports: Ports, lost: Iterable[Requeue], worker: Worker | None) -> list[Requeue]:
    row_id = worker.row_id if worker else None
    return [one for one in lost if _requeue(ports, one, row_id)]


def _next(
    notice: Notice, again: int | None, *, requeued: object, polled_at: datetime | None = None
) -> dict[str, object]:
    """The machine's next input; it looks again in so many seconds, or is done."""
    updates: dict[str, object] = {"looks": notice.looks + 1, "polled_at": polled_at or notice.polled_at}
    if again is not None:
        updates["look_seconds"] = again
    updated = notice.model_copy(update=updates)
    return {
        "notice": updated.model_dump(mode="json"),
        "next": "done" if again is None else "wait",
        "requeued": requeued,
    }


def _requeue(ports: Ports, lost: Requeue, row_id: int | None) -> bool:
    lease = lost.lease
    return ports.jobs.requeue(lease.dispatch_id, lease.token, lost.reason, row_id, lease.worker_id)


def _summary(requeued: list[Requeue]) -> str:
    jobs = ", ".join(str(lost.lease.dispatch_id) for lost in requeued)
    return f"requeued {jobs}" if jobs else "nothing to give back"
