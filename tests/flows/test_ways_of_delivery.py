"""Each message of EventBridge and SNS lost, late, doubled or after the one that follows it: what is true in the end is
what would have been."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fleet_control.act.asg import GroupInstance
from fleet_control.act.images import ParameterImage
from fleet_control.flows import ami_rollout
from fleet_control.flows.notices import receive
from fleet_control.flows.reconcile import Ports as ReconcilePorts
from fleet_control.flows.reconcile import reconcile
from fleet_control.flows.spot import Ports
from fleet_control.flows.spot_interruption import respond
from fleet_control.messages.eventbridge import ImageChange, JobQueued
from fleet_control.messages.nudge import Nudge, parse_job_queued, parse_nudge
from fleet_control.messages.rollout import parse_rollout
from fleet_control.messages.spot import parse_spot
from fleet_control.messages.tasks import InterruptionTask

from .fakes import NOW, Stage, ago, group_name, ports_of

EVENTS = Path(__file__).parents[2] / "events"
GROUP = group_name("image-to-video")
ME = "i-0a1b2c3d4e5f60718"
LIFE = {"rebalance": 0, "warning": 30, "terminate_action": 32, "shutting_down": 150, "terminated": 155}
"""Second at which each becomes true, and is told of."""
WAYS = ("in time", "lost", "late", "doubled", "reordered")


def sample(name: str) -> Any:
    return json.loads((EVENTS / f"{name}.json").read_text())


def deliveries(kind: str, way: str) -> list[tuple[int, str]]:
    """(second, message) of all of them; `kind` comes its own way, the others as they should."""
    told = [(at, name) for name, at in LIFE.items() if name != kind]
    follows = [at for at in LIFE.values() if at > LIFE[kind]] or [LIFE[kind] + 20]
    own = {"in time": [0], "lost": [], "late": [45], "doubled": [0, 1], "reordered": [follows[0] + 1 - LIFE[kind]]}
    return sorted(told + [(LIFE[kind] + after, kind) for after in own[way]])


class End:
    """Of one instance with two jobs, second by second, its machines and reconcile beside it."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.stage.fleet(desired=1)
        self.stage.instance(ME)
        self.stage.lease(ME, attempts=1, seconds_left=900)
        self.stage.lease(ME, attempts=3, seconds_left=900)
        self.machines: dict[str, tuple[int, dict[str, Any]]] = {}
        self.answered: int | None = None

    def live(self, told: list[tuple[int, str]]) -> None:
        for second in range(260):
            self.stage.now = NOW + timedelta(seconds=second)
            self._truth(second)
            for name in [name for at, name in told if at == second]:
                self._deliver(second, name)
            for kind in [kind for kind, (at, _) in self.machines.items() if at <= second]:
                self._look(second, kind)
            if second % 10 == 0:
                reconcile(ports_of(self.stage, ReconcilePorts, worker_limit=50), "Tick")
            if self.answered is None and self._lifecycle == "Terminating:Proceed":
                self.answered = second

    @property
    def _lifecycle(self) -> str:
        members = self.stage.groups[GROUP].instances
        return members[0].lifecycle if members else "gone"

    def _truth(self, second: int) -> None:
        if second < LIFE["shutting_down"] and ME in self.stage.workers:
            self.stage.workers[ME]["last_seen_at"] = self.stage.now
        if second == LIFE["terminate_action"]:
            self._becomes(GroupInstance(ME, "Terminating:Wait"))
        if second == LIFE["shutting_down"]:
            self.stage.instances[ME] = replace(self.stage.instances[ME], state="shutting-down")
        if second == LIFE["terminated"]:
            self.stage.instances[ME] = replace(self.stage.instances[ME], state="terminated")
            self._becomes()

    def _becomes(self, *members: GroupInstance) -> None:
        self.stage.groups[GROUP] = replace(self.stage.groups[GROUP], instances=members)

    def _deliver(self, second: int, name: str) -> None:
        message = parse_spot(sample(f"spot_interruption_{name}"))
        assert not isinstance(message, InterruptionTask)
        before = set(self.stage.executions)
        receive(ports_of(self.stage, Ports), message)
        self.machines |= {
            new: (second, dict(self.stage.executions[new])) for new in set(self.stage.executions) - before
        }

    def _look(self, second: int, kind: str) -> None:
        task = parse_spot({"step": "respond"} | self.machines.pop(kind)[1])
        assert isinstance(task, InterruptionTask)
        answer = respond(ports_of(self.stage, Ports), task)
        if answer["next"] == "wait":
            notice: Any = answer["notice"]
            self.machines[kind] = (second + notice["look_seconds"], {"notice": notice})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", LIFE)
def test_however_a_notice_comes_each_job_is_back_once_and_the_group_answered(kind: str, way: str) -> None:
    end = End()
    end.live(deliveries(kind, way))
    assert [(row["status"], row["attempts"]) for row in end.stage.dispatches.values()] == [("queued", 0), ("queued", 2)]
    assert [row["worker_id"] for row in end.stage.dispatches.values()] == [None, None]
    assert ME not in end.stage.workers
    assert end.stage.groups[GROUP].desired == 1
    assert end.answered is not None
    assert end.answered < LIFE["terminated"]


NUDGES = ("job_queued", "launch_successful", "launch_unsuccessful", "terminate_successful", "queue_has_jobs")
"""Each only says: look now."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", NUDGES)
def test_however_a_nudge_comes_the_next_tick_finds_the_stage_as_it_should_be(kind: str, way: str) -> None:
    stage = Stage()
    stage.fleet()
    for _ in range(3):
        stage.job()

    def nudge(name: str) -> None:
        event = sample(f"reconcile_{name}")
        message: Nudge | JobQueued
        if name == "job_queued":
            message = parse_job_queued(event["Records"][0]["body"] if "Records" in event else event)
        else:
            message = parse_nudge(event)
        reconcile(ports_of(stage, ReconcilePorts, worker_limit=50), type(message).__name__, message.names)

    other = NUDGES[(NUDGES.index(kind) + 1) % len(NUDGES)]
    before = {"in time": [kind], "lost": [], "late": [], "doubled": [kind, kind], "reordered": [other, kind]}[way]
    for name in before:
        nudge(name)
    reconcile(ports_of(stage, ReconcilePorts, worker_limit=50), "Tick")
    if way == "late":
        nudge(kind)
    assert stage.made("set_desired") == [(GROUP, 2)]


@pytest.mark.parametrize("way", WAYS)
def test_however_a_new_image_is_told_the_newest_version_is_rolled_out_once(way: str) -> None:
    """Two updates; the second's event comes its own way, the parameter says 3 all the same."""
    stage = Stage()
    stage.fleet(desired=1)
    stage.instance("i-1")
    stage.parameters["image-to-video"] = ParameterImage("ami-3", 3, ago(1))
    second = {"in time": 1, "lost": 0, "late": 1, "doubled": 2, "reordered": 1}[way]
    events = ["update"] * (1 + second)
    if way in ("late", "lost"):
        ami_rollout.survey(ports_of(stage, ami_rollout.Ports))
    for _ in events:
        message = parse_rollout(sample("ami_rollout_image_changed"))
        assert isinstance(message, ImageChange)
        ami_rollout.receive(ports_of(stage, ami_rollout.Ports), message)
    assert list(stage.executions) == [f"{GROUP}-v3-0"]
