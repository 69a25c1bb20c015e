"""One instance that is warned or has to go, with its machines, beside the stage's looks."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from fleet_control.act.asg import GroupInstance
from fleet_control.flows.notices import Ports, receive
from fleet_control.flows.reconcile import Ports as ReconcilePorts
from fleet_control.flows.reconcile import Result, reconcile
from fleet_control.flows.spot_interruption import respond
from fleet_control.messages.spot import parse_spot
from fleet_control.messages.tasks import InterruptionTask

from .fakes import NOW, Stage, ago, group_name, ports_of

EVENTS = Path(__file__).parents[2] / "events"
GROUP = group_name("image-to-video")
ME = "i-0a1b2c3d4e5f60718"
SAMPLES = {"interruption": "warning", "terminating": "terminate_action"}


class World:
    """One instance of a fleet. `executions` are the machines under way, by kind."""

    def __init__(self, **worker: Any) -> None:
        self.stage = Stage()
        self.stage.fleet(desired=1)
        self.stage.instance(ME, **worker)
        self.machines: dict[str, dict[str, Any]] = {}

    def deliver(self, kind: str, **detail: Any) -> str:
        event = json.loads((EVENTS / f"spot_interruption_{SAMPLES[kind]}.json").read_text())
        event["detail"] |= detail
        message = parse_spot(event)
        assert not isinstance(message, InterruptionTask)
        answer = receive(ports_of(self.stage, Ports), message)
        if answer["outcome"] == "started":
            self.machines[kind] = dict(self.stage.executions[f"{ME}-{kind}"])
        return str(answer["outcome"])

    def look(self, kind: str) -> str:
        """The machine's next look; it ends with `done`."""
        task = parse_spot({"step": "respond"} | self.machines[kind])
        assert isinstance(task, InterruptionTask)
        answer = respond(ports_of(self.stage, Ports), task)
        self.machines[kind] = {"notice": answer["notice"]}
        return str(answer["next"])

    def tick(self) -> Result:
        return reconcile(ports_of(self.stage, ReconcilePorts, worker_limit=50), "Tick")

    def waits(self) -> None:
        """The group wants the instance gone, and waits for its hook."""
        self._becomes("Terminating:Wait")

    def _becomes(self, lifecycle: str) -> None:
        self.stage.groups[GROUP] = replace(self.stage.groups[GROUP], instances=(GroupInstance(ME, lifecycle),))

    @property
    def lifecycle(self) -> str:
        return self.stage.groups[GROUP].instances[0].lifecycle

    def after(self, seconds: float, *, polls: bool = True) -> None:
        """So many seconds after the beginning; the worker has polled meanwhile, unless it does not."""
        self.stage.now = NOW + timedelta(seconds=seconds)
        if polls and ME in self.stage.workers:
            self.stage.workers[ME]["last_seen_at"] = self.stage.now

    def statuses(self) -> list[str]:
        return [row["status"] for row in self.stage.dispatches.values()]

    def ends(self, dispatch: int) -> None:
        self.stage.dispatches[dispatch]["status"] = "completed"

    def drain(self) -> dict[str, Any]:
        found: dict[str, Any] = self.stage.audit[-1]["metadata"]
        return found

    def knows(self, dispatch: int, *, ran: float, durations: list[float]) -> None:
        self.stage.leased_at[dispatch] = ago(ran)
        self.stage.durations["image-to-video"] = durations
