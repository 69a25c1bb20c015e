"""Give an answer to the terminate hook of an instance: the same steps by its machine and by `reconcile`."""

from __future__ import annotations

from dataclasses import dataclass

from fleet_control.act.asg import AutoScaling
from fleet_control.act.jobs import Jobs
from fleet_control.act.workers import Workers
from fleet_control.decide.hook import Answer


@dataclass(frozen=True, slots=True)
class HookPorts:
    jobs: Jobs
    workers: Workers
    groups: AutoScaling


def give(ports: HookPorts, group: str, answer: Answer) -> int:
    """Safe to repeat. Jobs are back in the queue before the instance may go. Number of jobs given back."""
    worker = answer.worker
    row_id = worker.row_id if worker else None
    if answer.mark and worker is not None:
        ports.workers.mark_terminating(worker.row_id, worker.instance_id)
    requeued = [
        ports.jobs.requeue(lost.lease.dispatch_id, lost.lease.token, lost.reason, row_id, lost.lease.worker_id)
        for lost in answer.requeue
    ]
    if answer.goes:
        ports.groups.let_go(group, answer.instance_id)
    elif answer.extend:
        ports.groups.keep_waiting(group, answer.instance_id)
    return sum(requeued)
