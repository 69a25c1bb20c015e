"""The backend goes away: from its first second on nobody is replaced for it, and whoever has died is told by name."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from fleet_control.act.activities import Activity
from fleet_control.act.asg import GroupInstance
from fleet_control.act.ec2 import Ec2Instance

from .fakes import NOW, Stage, ago, group_name
from .test_machines_that_die import Night

GROUP = group_name("image-to-video")
ALIVE = 10_000
"""Steps: no execution dies here."""


def crew(stage: Stage) -> None:
    """Two that poll, one that says each 30 s that it works, one that works without a word, and jobs for all."""
    stage.instance("i-1", last_seen_at=ago(0))
    stage.instance("i-2", last_seen_at=ago(3))
    stage.instance("i-3", last_seen_at=ago(29))
    stage.lease("i-3", seconds_left=5_000)
    stage.instance("i-4", last_seen_at=ago(3_500), created_at=ago(9_000))
    stage.lease("i-4", seconds_left=5_000)
    for _ in range(20):
        stage.job()


def boots(stage: Stage, age: float) -> None:
    stage.groups[GROUP] = replace(
        stage.groups[GROUP], instances=(*stage.groups[GROUP].instances, GroupInstance("i-9", "InService"))
    )
    stage.instances["i-9"] = Ec2Instance("i-9", "running", ago(age))
    stage.activities[GROUP] = [Activity(True, "i-9", "Successful", "", "", ago(age))]


def outage(stage: Stage, seconds: float) -> Night:
    """From now on nobody gets an answer; reconcile and scale_in look on."""
    night = Night(stage, ALIVE, silent=frozenset(stage.workers))
    while night.seconds < seconds:
        night.tick()
    return night


def gone(stage: Stage) -> list[str]:
    """Who was terminated or given up; a drain that a second look took back is none."""
    drained = [name for name, row in stage.workers.items() if row["is_draining"]]
    lost = [f"job {dispatch} ({why})" for dispatch, why in stage.made("requeue")]
    return [name for name, _ in stage.made("terminate")] + drained + lost


@pytest.mark.parametrize("worked", [50, 100, 400, 600, 650, 700, 890, 899])
@pytest.mark.parametrize("booted", [300, 530, 590, 599])
def test_a_total_outage_replaces_nobody_from_its_first_second_on(worked: float, booted: float) -> None:
    """One has worked without a word, and its lease runs out in the outage; another boots, and its deadline passes."""
    stage = Stage()
    stage.fleet(desired=10)
    crew(stage)
    stage.instance("i-5", last_seen_at=ago(worked), created_at=ago(9_000))
    stage.lease("i-5", seconds_left=900 - worked)
    boots(stage, booted)
    outage(stage, 1_500)
    assert gone(stage) == []


def test_when_it_is_over_everybody_serves_on() -> None:
    stage = Stage()
    stage.fleet(desired=10)
    crew(stage)
    stage.workers["i-4"]["last_seen_at"] = ago(500)
    night = outage(stage, 900)
    for late in (frozenset({"i-2", "i-3"}), frozenset[str]()):
        night.silent = late | {"i-4"}
        for _ in range(6):
            night.tick()
    night.silent = frozenset()
    for _ in range(20):
        night.tick()
    assert gone(stage) == []
    assert stage.recorder.decisions[-1]["rule"] != "hold"


@pytest.mark.parametrize("job", [200, 290, 590])
def test_the_dead_one_goes_though_the_only_other_works_without_a_word_job_after_job(job: int) -> None:
    """It is heard of between its jobs alone: longer apart than a second look at the dead one takes."""
    stage = Stage()
    stage.fleet(desired=2)
    stage.instance("i-1", last_seen_at=ago(301))
    stage.instance("i-2")
    for _ in range(3):
        stage.lease("i-2", seconds_left=90_000)
    night = Night(stage, ALIVE, silent=frozenset({"i-1", "i-2"}))
    while night.seconds < 3_600:
        if night.seconds % job < 10:
            stage.workers["i-2"]["last_seen_at"] = stage.now
        night.tick()
    assert [name for name, _ in stage.made("terminate")] == ["i-1"]


def test_one_that_never_registers_goes_though_the_others_work_without_a_word() -> None:
    """Both have taken a job in the same second, and another in the same again: between, nobody is heard of."""
    stage = Stage()
    stage.fleet(desired=3)
    for name in ("i-1", "i-2"):
        stage.instance(name)
        stage.lease(name, seconds_left=90_000)
    for _ in range(4):
        stage.job()
    boots(stage, 500)
    night = Night(stage, ALIVE, silent=frozenset({"i-1", "i-2"}))
    while night.seconds < 3_600:
        if night.seconds % 300 == 0:
            for row in stage.workers.values():
                row["last_seen_at"] = stage.now
        night.tick()
    assert stage.made("terminate") == [("i-9", False)]


def test_two_that_have_died_are_held_and_named_at_every_look_until_somebody_ends_them() -> None:
    """Nobody can tell them from a backend that is away: capacity stays, holds are counted, the reason names them."""
    stage = Stage()
    stage.fleet(desired=2)
    for name in ("i-1", "i-2"):
        stage.instance(name)
    for _ in range(4):
        stage.job()
    night = outage(stage, 4_000)
    told = [each for each in stage.recorder.decisions if each["fleet"] == GROUP and each["rule"] == "hold"]
    assert len(told) >= (4_000 - 310) / 10
    assert all("2 of 2 workers" in each["reason"] for each in told)
    assert told[-1]["reason"].endswith("terminate i-1, i-2 by hand")
    assert gone(stage) == []
    for name in ("i-1", "i-2"):
        stage.groups[GROUP] = replace(stage.groups[GROUP], instances=())
        stage.instances[name] = Ec2Instance(name, "terminated", ago(4_000))
    stage.groups[GROUP] = replace(stage.groups[GROUP], desired=0)
    night.look()
    assert stage.made("set_desired")[-1] == (GROUP, 2)
    assert NOW + timedelta(seconds=4_000) <= stage.now
