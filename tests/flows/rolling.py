"""A group that really launches, with `reconcile` each 10 s and `scale_in` as its machine has it, over the fakes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from fleet_control.act.asg import GroupInstance
from fleet_control.act.ec2 import Ec2Instance
from fleet_control.flows import reconcile as loop
from fleet_control.flows import scale_in as way_down
from fleet_control.messages.tasks import parse_scale_in

from .fakes import Stage, group_name, ports_of

SLUG = "image-to-video"
GROUP = group_name(SLUG)


class Account:
    """A group that launches up to desired, 30 s a boot. `broken` images never register."""

    def __init__(self, stage: Stage, *, broken: str = "") -> None:
        self.stage, self.broken = stage, broken
        self.born: dict[str, Any] = {}
        self.drains: dict[str, Any] = {}
        self.out: list[int] = []

    def second(self, n: int) -> None:
        self.stage.now += timedelta(seconds=1)
        self._settle()
        for worker in self.stage.workers.values():
            if n % 3 == 0:
                worker["last_seen_at"] = self.stage.now
        if n % 3 == 0:
            self._scale_in()
        if n % 10 == 0:
            loop.reconcile(ports_of(self.stage, loop.Ports, worker_limit=50), "Tick")
        group = self.stage.groups[GROUP]
        serving = [i for i in group.instances if i.id in self.stage.workers and i.lifecycle == "InService"]
        self.out.append(sum(not self.stage.workers[i.id]["is_draining"] for i in serving))

    def _settle(self) -> None:
        group = self.stage.groups[GROUP]
        members = [i for i in group.instances if i.lifecycle != "Terminating"]
        for _ in range(group.desired - len(members)):
            name = f"i-{100 + len(self.born)}"
            self.born[name] = self.stage.now
            image = self.stage.parameters[SLUG].image
            self.stage.instances[name] = Ec2Instance(name, "running", self.stage.now)
            self.stage.images[name] = image
            members.append(GroupInstance(name, "InService"))
        self.stage.groups[GROUP] = replace(group, instances=tuple(members))
        for member in members:
            self._register(member.id)

    def _register(self, name: str) -> None:
        born = self.born.get(name)
        if born is None or name in self.stage.workers or self.stage.images[name] == self.broken:
            return
        if self.stage.now - born >= timedelta(seconds=30):
            row = {"id": len(self.stage.audit) + 500 + int(name[2:]), "worker_id": name, "is_approved": 1}
            now = {"last_seen_at": self.stage.now, "created_at": self.stage.now, "active_at": self.stage.now}
            self.stage.workers[name] = row | {"is_draining": 0, "current_load": 0} | now

    def _scale_in(self) -> None:
        for name, given in list(self.stage.executions.items()):
            if "drain" not in given:
                continue
            state = self.drains.setdefault(name, {"step": "look", **given})
            if state["step"] in ("look", "terminate", "release"):
                self._walk(state)

    def _walk(self, state: dict[str, Any]) -> None:
        """One turn of the machine: a look, and what it leads to at once."""
        for _ in range(3):
            given = parse_scale_in({"step": state["step"], "drain": state["drain"]})
            answer = way_down.scale_in(ports_of(self.stage, way_down.Ports), given)
            state |= {"drain": answer["drain"], "step": {"wait": "look"}.get(str(answer["next"]), answer["next"])}
            if answer["next"] in ("wait", "done"):
                return
