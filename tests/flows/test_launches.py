"""Launches that fail, instances that never register, and workers that fall silent, through reconcile and scale_in."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fleet_control.act.activities import Activity
from fleet_control.act.asg import GroupInstance
from fleet_control.act.ec2 import Ec2Instance
from fleet_control.errors import Blind
from fleet_control.flows import scale_in
from fleet_control.flows.reconcile import Ports, Result, reconcile
from fleet_control.messages.tasks import ScaleInTask

from .fakes import Stage, ago, group_name, ports_of

A, B = group_name("image-to-video"), group_name("face-swap")
DRY = "Could not launch Spot Instances. InsufficientInstanceCapacity - There is no Spot capacity available."
USER = "instance was taken out of service in response to a user request"


def look(stage: Stage) -> Result:
    return reconcile(ports_of(stage, Ports, worker_limit=50), trigger="Tick")


def step(stage: Stage, execution: str, name: str) -> dict[str, Any]:
    """One step of the execution, with what the last one left it."""
    task = ScaleInTask.model_validate({"step": name, **stage.executions[execution]})
    answer = scale_in.scale_in(ports_of(stage, scale_in.Ports), task)
    stage.executions[execution] = {"drain": answer["drain"]}
    return answer


def launched(name: str, age: float, status: str = "Successful") -> Activity:
    return Activity(True, name, status, "", "", ago(age))


def refused(age: float, message: str = DRY) -> Activity:
    return Activity(True, None, "Failed", message, "", ago(age))


def terminated(name: str, age: float, cause: str = USER) -> Activity:
    return Activity(False, name, "Successful", "", cause, ago(age))


def boots(stage: Stage, name: str, age: float, slug: str = "image-to-video") -> None:
    """A member that has not registered."""
    group = stage.groups[group_name(slug)]
    stage.groups[group.name] = replace(group, instances=(*group.instances, GroupInstance(name, "InService")))
    stage.instances[name] = Ec2Instance(name, "running", ago(age))
    stage.activities.setdefault(group.name, []).insert(0, launched(name, age))


def decision(stage: Stage, fleet: str = A) -> dict[str, Any]:
    return [found for found in stage.recorder.decisions if found["fleet"] == fleet][-1]


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    stage.fleet("image-to-video", desired=1)
    stage.job()
    return stage


def test_an_instance_that_never_registers_is_replaced_after_a_second_look(stage: Stage) -> None:
    boots(stage, "i-1", 610)
    look(stage)
    assert list(stage.executions) == ["i-1-overdue-0"]
    assert step(stage, "i-1-overdue-0", "look")["next"] == "wait"
    stage.now += timedelta(seconds=60)
    assert step(stage, "i-1-overdue-0", "look")["next"] == "terminate"
    answer = step(stage, "i-1-overdue-0", "terminate")
    assert (answer["next"], stage.made("terminate")) == ("done", [("i-1", False)])
    assert stage.groups[A].desired == 1


def test_one_that_registers_at_the_last_moment_stays(stage: Stage) -> None:
    boots(stage, "i-1", 610)
    look(stage)
    group = stage.groups[A]
    stage.groups[A] = replace(group, instances=())
    stage.instance("i-1")
    stage.now += timedelta(seconds=60)
    assert step(stage, "i-1-overdue-0", "terminate")["next"] == "done"
    assert stage.made("terminate") == []


def test_one_that_nobody_wants_takes_desired_down_with_it() -> None:
    stage = Stage()
    stage.fleet(desired=1)
    boots(stage, "i-1", 610)
    look(stage)
    stage.now += timedelta(seconds=60)
    step(stage, "i-1-overdue-0", "terminate")
    assert stage.made("terminate") == [("i-1", True)]
    assert stage.groups[A].desired == 0


def test_a_repeated_step_and_an_aborted_execution_harm_nobody(stage: Stage) -> None:
    boots(stage, "i-1", 610)
    look(stage)
    look(stage)
    assert stage.made("start") == [("i-1-overdue-0",)]
    stage.running.clear()
    stage.now += timedelta(seconds=90)
    look(stage)
    assert list(stage.executions) == ["i-1-overdue-0", "i-1-overdue-1"]
    for execution in stage.executions:
        stage.now += timedelta(seconds=60)
        step(stage, execution, "terminate")
        step(stage, execution, "terminate")
    assert stage.made("terminate") == [("i-1", False)]


def test_a_failed_step_leaves_the_instance_to_the_next_look(stage: Stage) -> None:
    boots(stage, "i-1", 610)
    look(stage)
    assert step(stage, "i-1-overdue-0", "release")["reason"] == "left to the next look"
    assert stage.made("terminate") == stage.made("undrain") == []


def three_failures(stage: Stage, newest: float = 650) -> None:
    for number in (1, 2, 3):
        age = newest + 700 * (3 - number)
        stage.activities.setdefault(A, [])[:0] = [terminated(f"i-{number}", age - 660), launched(f"i-{number}", age)]


def test_after_three_failures_nothing_is_desired_and_the_operators_are_told(stage: Stage) -> None:
    three_failures(stage)
    stage.groups[A] = replace(stage.groups[A], desired=4)
    for _ in range(6):
        stage.job()
    result = look(stage)
    assert stage.made("set_desired") == [(A, 0)]
    assert result.breakers == (A,)
    assert "3 launches in a row never registered" in decision(stage)["reason"]


def test_a_probe_a_period_later_and_a_registration_closes(stage: Stage) -> None:
    three_failures(stage, newest=1400)
    stage.groups[A] = replace(stage.groups[A], desired=0)
    for _ in range(6):
        stage.job()
    look(stage)
    assert stage.made("set_desired") == [(A, 1)]
    assert decision(stage)["rule"] == "probe"
    stage.registrations["i-3"] = ago(5)
    look(stage)
    assert stage.made("set_desired")[-1] == (A, 4)


def test_those_that_spot_took_while_they_booted_do_not_count(stage: Stage) -> None:
    three_failures(stage)
    for number in (1, 2, 3):
        stage.instances[f"i-{number}"] = Ec2Instance(
            f"i-{number}", "terminated", ago(700), "Server.SpotInstanceTermination"
        )
    assert look(stage).breakers == ()


def test_a_blocked_fleet_is_told_with_its_age(stage: Stage) -> None:
    stage.activities[A] = [refused(10), refused(70), refused(200), launched("i-0", 4000)]
    result = look(stage)
    assert result.blocked == {A: 200}
    assert DRY in decision(stage)["reason"]
    assert stage.made("set_desired") == []


def test_a_dry_market_and_an_empty_queue_leave_nothing_desired_for_the_night(stage: Stage) -> None:
    stage.activities[A] = [refused(10)]
    stage.dispatches.clear()
    result = look(stage)
    assert stage.made("set_desired") == [(A, 0)]
    stage.calls.clear()
    assert look(stage).blocked == {}
    assert result.failures == 0
    assert stage.made("activities") == stage.made("set_desired") == []


def test_a_fleet_whose_activities_cannot_be_read_is_held_alone(stage: Stage) -> None:
    stage.fleet("face-swap")
    stage.job("face-swap")
    stage.broken[f"activities {A}"] = Blind("autoscaling:DescribeScalingActivities failed (Throttling)")
    stage.groups[A] = replace(stage.groups[A], desired=0)
    result = look(stage)
    assert stage.made("set_desired") == [(B, 1)]
    assert (result.held, decision(stage)["rule"]) == (1, "hold")


def test_activities_are_read_of_fleets_that_are_short_alone(stage: Stage) -> None:
    stage.fleet("face-swap", desired=1)
    stage.instance("i-9", "face-swap")
    look(stage)
    assert stage.made("activities") == [(A,)]
    assert len(stage.made("registrations")) == 1


def test_a_stage_at_rest_reads_no_activity() -> None:
    stage = Stage()
    stage.fleet(desired=1)
    stage.instance("i-1")
    look(stage)
    assert stage.made("activities") == stage.made("registrations") == []


def test_a_zombie_is_drained_watched_and_terminated() -> None:
    stage = Stage()
    stage.fleet(desired=2)
    stage.instance("i-1", last_seen_at=ago(301))
    stage.instance("i-2")
    stage.lease("i-2")
    look(stage)
    assert stage.made("drain") == [("i-1", "zombie")]
    (name,) = stage.executions
    for seconds in (3, 149):
        stage.now += timedelta(seconds=seconds)
        stage.workers["i-2"]["last_seen_at"] = stage.now
        assert step(stage, name, "look")["next"] == "wait"
    stage.now += timedelta(seconds=1)
    assert step(stage, name, "look")["next"] == "terminate"
    assert step(stage, name, "terminate")["next"] == "done"
    assert stage.made("terminate") == [("i-1", True)]


def test_a_zombie_that_polls_again_serves_on() -> None:
    stage = Stage()
    stage.fleet(desired=2)
    stage.instance("i-1", last_seen_at=ago(301))
    stage.instance("i-2")
    look(stage)
    (name,) = stage.executions
    stage.now += timedelta(seconds=10)
    stage.workers["i-1"]["last_seen_at"] = stage.now
    assert step(stage, name, "look")["next"] == "release"
    assert step(stage, name, "release")["reason"] == "serves on"


def test_a_lost_workers_job_is_given_back_at_no_cost() -> None:
    stage = Stage()
    stage.fleet(desired=2)
    stage.instance("i-1", last_seen_at=ago(3601), created_at=ago(9000))
    stage.instance("i-2")
    dispatch = stage.lease("i-1", seconds_left=7200, attempts=2)
    look(stage)
    assert stage.made("requeue") == [(dispatch, "worker_lost")]
    assert (stage.dispatches[dispatch]["status"], stage.dispatches[dispatch]["attempts"]) == ("queued", 1)
    assert stage.made("drain") == [("i-1", "zombie")]


def test_a_job_whose_worker_never_heard_of_it_goes_back_and_its_worker_serves_on() -> None:
    stage = Stage()
    stage.fleet(desired=1)
    stage.instance("i-1")
    dispatch = stage.lease("i-1", seconds_left=590, attempts=2)
    stage.dispatches[dispatch]["updated_at"] = ago(310)
    look(stage)
    assert stage.made("requeue") == [(dispatch, "worker_lost")]
    assert (stage.dispatches[dispatch]["status"], stage.dispatches[dispatch]["attempts"]) == ("queued", 1)
    assert [d["reason"] for d in stage.recorder.decisions if d["rule"] == "requeue"] == [
        "worker_lost: its worker polls for more"
    ]
    assert stage.made("drain") == []


@pytest.mark.parametrize("queued", [0, 5])
def test_while_the_backend_is_away_nothing_is_replaced(queued: int) -> None:
    stage = Stage()
    stage.fleet(desired=4)
    for number in (1, 2):
        stage.instance(f"i-{number}", last_seen_at=ago(310 + number))
    stage.instance("i-3", last_seen_at=ago(320))
    stage.lease("i-3", seconds_left=500)
    boots(stage, "i-4", 900)
    for _ in range(queued):
        stage.job()
    result = look(stage)
    assert {call[0] for call in stage.calls} & {"set_desired", "drain", "start", "requeue", "terminate"} == set()
    assert (result.outcome, result.held) == ("acted", 1)
    assert "2 of 3 workers" in decision(stage)["reason"]


def test_when_the_backend_is_back_everybody_serves_on() -> None:
    stage = Stage()
    stage.fleet(desired=2)
    for number in (1, 2):
        stage.instance(f"i-{number}", last_seen_at=ago(400))
    stage.workers["i-1"]["last_seen_at"] = ago(1)
    stage.workers["i-2"]["last_seen_at"] = ago(4)
    assert look(stage).held == 0
    assert stage.made("drain") == []


def test_a_desired_set_by_hand_is_taken_back(stage: Stage) -> None:
    stage.groups[A] = replace(stage.groups[A], desired=9)
    look(stage)
    assert stage.made("set_desired") == [(A, 1)]
    assert decision(stage)["rule"] == "reset"
