"""Fakes of what AWS knows, over the same small stage: groups, instances, images, executions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from fleet_control.act.activities import Activity
from fleet_control.act.asg import HELD_LAUNCHES, Group, GroupInstance
from fleet_control.act.ec2 import Ec2Instance
from fleet_control.act.images import Launch, ParameterImage

from .stage import Stage


class FakeGroups:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def groups(self) -> list[Group]:
        self._stage.call("groups")
        return list(self._stage.groups.values())

    def group(self, name: str) -> Group | None:
        self._stage.call("group", name)
        return self._stage.groups.get(name)

    def group_of(self, instance_id: str) -> str | None:
        self._stage.call("group_of", instance_id)
        holds = [g.name for g in self._stage.groups.values() if any(i.id == instance_id for i in g.instances)]
        return holds[0] if holds else None

    def activities(self, group: str) -> list[Activity]:
        self._stage.call("activities", group)
        return self._stage.activities.get(group, [])

    def set_desired(self, group: str, desired: int) -> None:
        self._stage.call("set_desired", group, desired)
        self._stage.groups[group] = replace(self._stage.groups[group], desired=desired)

    def suspend_az_rebalance(self, group: str) -> None:
        self._stage.call("suspend_az_rebalance", group)
        self._suspended(group, self._stage.groups[group].suspended | {"AZRebalance"})

    def hold_launches(self, group: str) -> None:
        self._stage.call("hold_launches", group)
        self._suspended(group, self._stage.groups[group].suspended | set(HELD_LAUNCHES))

    def resume_launches(self, group: str) -> None:
        self._stage.call("resume_launches", group)
        self._suspended(group, self._stage.groups[group].suspended - set(HELD_LAUNCHES))

    def _suspended(self, group: str, processes: frozenset[str]) -> None:
        self._stage.groups[group] = replace(self._stage.groups[group], suspended=processes)

    def terminate(self, instance_id: str, *, decrement: bool) -> bool:
        self._stage.call("terminate", instance_id, decrement)
        name = next(g.name for g in self._stage.groups.values() if any(i.id == instance_id for i in g.instances))
        group = self._stage.groups[name]
        members = tuple(GroupInstance(i.id, "Terminating") if i.id == instance_id else i for i in group.instances)
        self._stage.groups[name] = replace(group, desired=group.desired - decrement, instances=members)
        return True

    def let_go(self, group: str, instance_id: str) -> bool:
        self._stage.call("let_go", group, instance_id)
        return self._stage.moved(instance_id, "Terminating:Wait", "Terminating:Proceed")

    def keep_waiting(self, group: str, instance_id: str) -> bool:
        self._stage.call("keep_waiting", group, instance_id)
        return self._stage.moved(instance_id, "Terminating:Wait", "Terminating:Wait")


class FakeEc2:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def not_running(self) -> dict[str, Ec2Instance]:
        self._stage.call("not_running")
        return {name: one for name, one in self._stage.instances.items() if one.state != "running"}

    def recommended(self) -> frozenset[str]:
        self._stage.call("recommended")
        return frozenset(self._stage.recommended)

    def recommend(self, instance_id: str, at: datetime) -> bool:
        self._stage.call("recommend", instance_id, at)
        if instance_id in self._stage.instances:
            self._stage.recommended.add(instance_id)
        return instance_id in self._stage.instances

    def lookup(self, instance_ids: Iterable[str]) -> dict[str, Ec2Instance]:
        self._stage.call("lookup", *sorted(instance_ids))
        return {name: self._stage.instances[name] for name in instance_ids if name in self._stage.instances}


class FakeImages:
    """What EC2 remembers is what the stage holds; who is in no group any more is gone."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def wanted(self, slugs: Iterable[str]) -> dict[str, ParameterImage]:
        self._stage.call("wanted")
        return {slug: self._stage.parameters[slug] for slug in slugs if slug in self._stage.parameters}

    def launched(self, groups: Iterable[str]) -> list[Launch]:
        self._stage.call("launched", *groups)
        return [
            Launch(
                i.id, name, self._stage.images.get(i.id, "ami-1"), self._stage.instances[i.id].launched_at, "running"
            )
            for name in groups
            for i in self._stage.groups[name].instances
        ]


class FakeMachine:
    """Every execution that was started keeps its name; `running` are those still on their way."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def start(self, name: str, payload: Mapping[str, object]) -> bool:
        self._stage.call("start", name)
        if name in self._stage.executions:
            return False
        self._stage.executions[name] = payload
        self._stage.running.add(name)
        return True

    def running(self) -> frozenset[str]:
        self._stage.call("running")
        return frozenset(self._stage.running)

    def failed(self) -> frozenset[str]:
        self._stage.call("failed")
        return frozenset(self._stage.failed)
