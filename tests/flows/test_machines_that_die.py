"""An execution of `scale_in` is aborted, wherever it is: the next looks carry its work on within 90 s.

Of the other machines the same is held in tests/machines (test_spot_lives.py, test_aborted.py), as deployed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from fleet_control.act.activities import Activity
from fleet_control.act.asg import GroupInstance
from fleet_control.act.ec2 import Ec2Instance
from fleet_control.errors import Blind
from fleet_control.flows.reconcile import Ports, reconcile
from fleet_control.flows.scale_in import Ports as ScaleInPorts
from fleet_control.flows.scale_in import scale_in
from fleet_control.messages.tasks import ScaleInTask

from .fakes import NOW, Stage, ago, group_name, ports_of

ME, OTHER = "i-1", "i-2"
GROUP = group_name("image-to-video")
TICK = 10
PICK_UP = 90


@dataclass
class Night:
    """A stage whose clock moves a tick at a time; each execution on its way takes a step a tick, until it ends or dies.

    The first execution dies once it has taken `steps`; every worker but the `silent` polls.
    """

    stage: Stage
    steps: int
    silent: frozenset[str] = frozenset()
    at: dict[str, str] = field(default_factory=dict)
    died: float | None = None
    carried_on: float | None = None

    @property
    def seconds(self) -> float:
        return (self.stage.now - NOW).total_seconds()

    def look(self) -> None:
        reconcile(ports_of(self.stage, Ports, worker_limit=50), "Tick")

    def tick(self) -> None:
        self.stage.now += timedelta(seconds=TICK)
        for name, row in self.stage.workers.items():
            if name not in self.silent:
                row["last_seen_at"] = self.stage.now
        self.look()
        for name in sorted(self.stage.running):
            self._advance(name)

    def _advance(self, name: str) -> None:
        first = name == next(iter(self.stage.executions))
        if first and self.steps == 0:
            self.stage.running.discard(name)
            self.died = self.seconds if self.died is None else self.died
            return
        self.steps -= first
        if not first and self.carried_on is None:
            self.carried_on = self.seconds
        self._step(name)

    def _step(self, name: str) -> None:
        task = ScaleInTask.model_validate({"step": self.at.get(name, "look"), **self.stage.executions[name]})
        answer: Any = scale_in(ports_of(self.stage, ScaleInPorts), task)
        self.stage.executions[name] = {"drain": answer["drain"]}
        self.at[name] = "look" if answer["next"] == "wait" else answer["next"]
        if answer["next"] == "done":
            self.stage.running.discard(name)

    @property
    def is_gone(self) -> bool:
        return all(
            member.id != ME or member.lifecycle == "Terminating" for member in self.stage.groups[GROUP].instances
        )


def idle(steps: int) -> Night:
    stage = Stage()
    stage.fleet(desired=2)
    stage.instance(ME, active_at=ago(300))
    stage.instance(OTHER)
    stage.lease(OTHER)
    return Night(stage, steps)


def emptied(steps: int) -> Night:
    stage = Stage()
    stage.fleet(desired=1)
    stage.instance(ME, active_at=ago(2000))
    stage.job(status="completed", updated_at=ago(2000))
    return Night(stage, steps)


def replaced(steps: int) -> Night:
    stage = Stage()
    stage.fleet(desired=1)
    stage.instance(ME)
    stage.lease(ME, seconds_left=40)
    stage.recommended.add(ME)
    stage.instance(OTHER)
    return Night(stage, steps)


def zombie(steps: int) -> Night:
    stage = Stage()
    stage.fleet(desired=2)
    stage.instance(ME, last_seen_at=ago(301))
    stage.instance(OTHER)
    stage.lease(OTHER)
    stage.lease(OTHER)
    stage.lease(OTHER)
    return Night(stage, steps, silent=frozenset({ME}))


def overdue(steps: int) -> Night:
    stage = Stage()
    stage.fleet(desired=1)
    stage.job()
    stage.groups[GROUP] = replace(stage.groups[GROUP], instances=(GroupInstance(ME, "InService"),))
    stage.instances[ME] = Ec2Instance(ME, "running", ago(610))
    stage.activities[GROUP] = [Activity(True, ME, "Successful", "", "", ago(610))]
    return Night(stage, steps)


WAYS: dict[str, Callable[[int], Night]] = {
    "idle": idle,
    "scale to zero": emptied,
    "replaced": replaced,
    "zombie": zombie,
    "overdue": overdue,
}


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_scale_in_that_dies_anywhere_is_carried_on_within_90_s(way: Callable[[int], Night], steps: int) -> None:
    night = way(steps)
    night.look()
    while not night.is_gone:
        night.tick()
        assert night.seconds < 600
    if night.carried_on is not None:
        assert night.died is not None
        assert night.carried_on - night.died <= PICK_UP
    assert [name for name, _ in night.stage.made("terminate")].count(ME) == 1
    assert not any(row["status"] == "queued" and row["attempts"] for row in night.stage.dispatches.values())


@pytest.mark.parametrize("way", [idle, emptied, replaced, zombie], ids=["idle", "scale to zero", "replaced", "zombie"])
def test_one_that_dies_between_making_the_drain_final_and_the_termination_is_carried_through(
    way: Callable[[int], Night],
) -> None:
    night = way(99)
    night.look()
    night.stage.broken["terminate"] = SystemError("aborted")
    with pytest.raises(SystemError):
        for _ in range(60):
            night.tick()
    del night.stage.broken["terminate"]
    night.stage.running.clear()
    final = night.seconds
    night.stage.job()
    while not night.is_gone:
        night.tick()
        assert night.seconds <= final + PICK_UP + 2 * TICK
    assert not night.stage.made("undrain")


def unreadable_policy(stage: Stage) -> None:
    tags = dict(stage.groups[GROUP].tags) | {"fleet:backlog-target": "many"}
    stage.groups[GROUP] = replace(stage.groups[GROUP], tags=tags)


def unreadable_activities(stage: Stage) -> None:
    stage.broken["activities"] = Blind("autoscaling away")
    stage.groups[GROUP] = replace(stage.groups[GROUP], desired=9)


def silent_backend(stage: Stage) -> None:
    for name in ("i-8", "i-9"):
        stage.fleet(f"of-{name}", desired=1)
        stage.instance(name, f"of-{name}")


HOLDS = {"its policy": unreadable_policy, "its launches": unreadable_activities, "the backend": silent_backend}


@pytest.mark.parametrize("hold", HOLDS.values(), ids=HOLDS)
@pytest.mark.parametrize("way", [idle, replaced], ids=["idle", "replaced"])
def test_a_fleet_on_hold_carries_on_what_was_under_way(
    way: Callable[[int], Night], hold: Callable[[Stage], None]
) -> None:
    night = way(0)
    night.look()
    assert night.stage.made("drain")
    hold(night.stage)
    if hold is silent_backend:
        night.silent = frozenset(night.stage.workers)
        for row in night.stage.workers.values():
            row["last_seen_at"] = ago(301)
    while night.carried_on is None:
        night.tick()
        assert night.seconds < 300
    assert night.died is not None
    assert night.carried_on - night.died <= PICK_UP
    assert "hold" in {told["rule"] for told in night.stage.recorder.decisions if told["fleet"] == GROUP}
    assert not night.stage.made("set_desired")


def test_a_zombie_may_be_silent_for_what_the_hold_is_for() -> None:
    night = zombie(0)
    night.look()
    silent_backend(night.stage)
    night.silent = frozenset(night.stage.workers)
    for row in night.stage.workers.values():
        row["last_seen_at"] = ago(301)
    for _ in range(20):
        night.tick()
    assert (len(night.stage.executions), night.stage.made("terminate")) == (1, [])


def test_a_warned_worker_of_a_fleet_on_hold_gives_its_job_back_though_its_machine_died() -> None:
    stage = Stage()
    stage.fleet(desired=1)
    stage.instance(ME, is_draining=1)
    dispatch = stage.lease(ME)
    stage.write(stage.workers[ME], "fleet_drained", {"reason": "spot_interruption"})
    unreadable_policy(stage)
    Night(stage, 0).look()
    assert stage.dispatches[dispatch]["status"] == "queued"
    assert stage.made("requeue") == [(dispatch, "spot_interruption")]
