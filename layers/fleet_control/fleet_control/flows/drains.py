"""Drain a worker and start its `scale_in`: the beginning of every way down."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from math import ceil

from fleet_control.act.machines import Machine
from fleet_control.act.workers import Workers
from fleet_control.decide.model import ZOMBIE, Drain, Policy, Worker
from fleet_control.decide.overdue import Overdue
from fleet_control.decide.pickup import execution_name


@dataclass(frozen=True, slots=True)
class WayDown:
    """Of one fleet, at one instant."""

    workers: Workers
    machine: Machine
    group: str
    policy: Policy
    now: datetime

    def begin(self, worker: Worker, reason: str) -> bool:
        """False when somebody else drained it meanwhile. Should the start fail, the drain stands and is picked up."""
        drain_id = self.workers.drain(worker.row_id, worker.instance_id, reason)
        if drain_id is None:
            return False
        self.start(worker, Drain(drain_id, reason, self.now))
        return True

    def start(self, worker: Worker, drain: Drain) -> bool:
        """False when this drain has its execution already."""
        return self.machine.start(execution_name(worker, drain, self.now), self._input(worker, drain))

    def replace(self, late: Overdue) -> bool:
        """An instance that never registered, so that no drain names it. False when its execution runs already."""
        since = {"since": self.now.isoformat(), "keep_desired": late.replace}
        return self.machine.start(late.execution, {"drain": {"instance_id": late.instance_id} | since | self._limits()})

    def _input(self, worker: Worker, drain: Drain) -> dict[str, object]:
        """`messages.tasks.DrainOnItsWay` gives the shape and units."""
        named = {"instance_id": worker.instance_id, "worker_row_id": worker.row_id, "drain_id": drain.row_id}
        more: dict[str, object] = {"workflows": list(self.policy.workflows), "polled_at": None}
        if drain.reason == ZOMBIE:
            # Whoever could not reach the backend may take its time between two tries.
            more["limit_seconds"] = max(self.policy.drain_limit_seconds, self.policy.silent_seconds / 2)
        return {"drain": self._limits() | named | more}

    def _limits(self) -> dict[str, object]:
        return {
            "group": self.group,
            "look_seconds": ceil(self.policy.drain_look_seconds),
            "limit_seconds": self.policy.drain_limit_seconds,
        }
