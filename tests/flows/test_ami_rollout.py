"""A new image with fakes around it; and with `reconcile` and `scale_in` at work on the same fleet."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fleet_control.act.images import ParameterImage
from fleet_control.errors import Blind, DatabaseUnavailable, SchemaNotMigrated
from fleet_control.flows import ami_rollout as flow
from fleet_control.messages.eventbridge import ImageChange
from fleet_control.messages.rollout import parse_rollout
from fleet_control.messages.tasks import RolloutTask

from .fakes import Stage, ago, ports_of
from .rolling import GROUP, SLUG, Account

SAMPLE = Path(__file__).parents[2] / "events" / "ami_rollout_image_changed.json"


def change(**detail: str) -> ImageChange:
    event = json.loads(SAMPLE.read_text())
    message = parse_rollout(event | {"detail": event["detail"] | detail})
    assert isinstance(message, ImageChange)
    return message


def task(version: int = 2, **values: Any) -> RolloutTask:
    rollout = {"group": GROUP, "slug": SLUG, "version": version, "max_looks": 1000, "look_seconds": 15}
    message = parse_rollout({"step": "look", "rollout": rollout | {"error_seconds": 300} | values})
    assert isinstance(message, RolloutTask)
    return message


def look(stage: Stage, **values: Any) -> dict[str, Any]:
    return flow.look(ports_of(stage, flow.Ports), task(**values))


@pytest.fixture
def stage() -> Stage:
    """Three idle instances from ami-1, all wanted; the parameter has just changed to ami-2."""
    stage = Stage()
    stage.fleet(SLUG, desired=3)
    for n in (1, 2, 3):
        stage.instance(f"i-{n}", active_at=ago(n))
    stage.groups[GROUP] = replace(stage.groups[GROUP], min_size=3)
    stage.parameters[SLUG] = ParameterImage("ami-2", 2, ago(1))
    return stage


# The notice.


def test_a_new_image_starts_one_rollout_of_its_version(stage: Stage) -> None:
    answers = [flow.receive(ports_of(stage, flow.Ports), change()) for _ in range(2)]
    assert [answer["outcome"] for answer in answers] == ["started", "duplicate"]
    assert stage.executions == {
        f"{GROUP}-v2-0": {
            "rollout": {
                "group": GROUP,
                "slug": SLUG,
                "version": 2,
                "looks": 0,
                "max_looks": 1000,
                "look_seconds": 15,
                "error_seconds": 300,
            }
        }
    }


@pytest.mark.parametrize(
    "detail",
    [{"name": "/bp/staging/ami/unheard-of"}, {"name": f"/bp/production/ami/{SLUG}"}],
    ids=["of no fleet", "of another stage"],
)
def test_an_image_that_no_fleet_of_the_stage_launches_from_is_ignored(stage: Stage, detail: dict[str, str]) -> None:
    assert flow.receive(ports_of(stage, flow.Ports), change(**detail))["outcome"] == "ignored"
    assert stage.executions == {}


def test_a_fleet_on_hold_is_left_alone(stage: Stage) -> None:
    group = stage.groups[GROUP]
    stage.groups[GROUP] = replace(group, tags={**group.tags, "fleet:backlog-target": "many"})
    assert flow.receive(ports_of(stage, flow.Ports), change())["outcome"] == "hold"
    assert look(stage)["next"] == "wait"
    assert stage.executions == {}


# The schedule.


def survey(stage: Stage) -> list[str]:
    started: list[str] = flow.survey(ports_of(stage, flow.Ports))["started"]  # type: ignore[assignment]
    return started


def test_a_lost_event_is_made_up_for_by_the_schedule(stage: Stage) -> None:
    stage.fleet("face-swap", desired=1)
    stage.instance("i-9", "face-swap")
    stage.parameters["face-swap"] = ParameterImage("ami-1", 1, ago(90_000))
    assert survey(stage) == [GROUP]


def test_what_runs_or_was_given_up_is_not_started_again(stage: Stage) -> None:
    stage.running = {f"{GROUP}-v2-0"}
    assert survey(stage) == []
    stage.running, stage.failed = set(), {f"{GROUP}-v2-0"}
    assert survey(stage) == []
    stage.parameters[SLUG] = ParameterImage("ami-3", 3, ago(1))
    assert survey(stage) == [GROUP], "another version is another attempt"


def test_an_execution_that_died_has_a_successor_of_its_own_name(stage: Stage) -> None:
    flow.receive(ports_of(stage, flow.Ports), change())
    stage.running, stage.now = set(), stage.now + timedelta(seconds=30)
    assert survey(stage) == [GROUP]
    assert list(stage.executions) == [f"{GROUP}-v2-0", f"{GROUP}-v2-1"]


@pytest.mark.parametrize("died", range(0, 60, 7))
@pytest.mark.parametrize("surveyed", range(0, 60, 7))
def test_whenever_it_dies_a_successor_starts_within_90_s(stage: Stage, died: int, surveyed: int) -> None:
    """`surveyed` is the second of the minute at which the schedule fires, of the minute in which the image came."""
    begun = stage.now
    flow.receive(ports_of(stage, flow.Ports), change())
    for second in range(surveyed, 300, 60):
        stage.now = begun + timedelta(seconds=second)
        if second >= died:
            stage.running.discard(f"{GROUP}-v2-0")
        if survey(stage):
            assert second - died <= 90
            return
    raise AssertionError("nobody carried it on")


def test_a_stage_at_zero_is_surveyed_with_one_call(stage: Stage) -> None:
    stage.groups[GROUP] = replace(stage.groups[GROUP], instances=(), desired=0, min_size=0)
    assert survey(stage) == []
    assert [call for call in stage.calls if call != ("wanted",)] == [("groups",), ("launched",)]


@pytest.mark.parametrize("broken", ["groups", "wanted", "launched", "running", "failed"])
def test_a_survey_that_cannot_see_fails_and_starts_nothing(stage: Stage, broken: str) -> None:
    stage.broken[broken] = Blind("no answer")
    with pytest.raises(Blind):
        survey(stage)
    assert stage.executions == {}


# One look.


def test_one_instance_is_drained_and_its_scale_in_started(stage: Stage) -> None:
    answer = look(stage)
    assert (answer["next"], answer["rollout"]["looks"]) == ("wait", 1)
    assert stage.made("drain") == [("i-3", "ami_rollout")]
    assert list(stage.executions) == ["i-3-1-0"]
    assert stage.groups[GROUP].desired == 3, "only reconcile sets desired"
    [record] = stage.recorder.decisions
    assert (record["fleet"], record["rule"], record["instance_id"]) == (GROUP, "rollout replace", "i-3")
    assert record["numbers"]["old"] == 3


def test_the_next_one_waits_for_the_first(stage: Stage) -> None:
    look(stage)
    assert look(stage)["reason"] == "i-3 is on its way out"
    assert len(stage.made("drain")) == 1


def test_a_busy_instance_is_not_touched(stage: Stage) -> None:
    for n in (1, 2, 3):
        stage.lease(f"i-{n}")
    assert look(stage)["reason"] == "all that run an older image are at work"
    assert stage.made("drain") == []


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ("launched", Blind("no answer")),
        ("wanted", Blind("no answer")),
        ("group", Blind("no answer")),
        ("fleet", DatabaseUnavailable("away")),
        ("live", SchemaNotMigrated("no table")),
    ],
)
def test_blind_means_wait(stage: Stage, broken: str, error: Exception) -> None:
    stage.broken[broken] = error
    answer = look(stage)
    assert answer["next"] == "wait"
    assert "hold" in answer["reason"]
    assert stage.made("drain") == []


def test_a_look_of_somebody_else_is_not_disturbed(stage: Stage) -> None:
    stage.lock_is_free = False
    assert look(stage)["next"] == "wait"
    assert stage.made("drain") == []


def test_an_execution_that_has_looked_long_enough_leaves_the_rest_to_the_schedule(stage: Stage) -> None:
    stage.lease("i-1"), stage.lease("i-2"), stage.lease("i-3")
    answer = look(stage, looks=999)
    assert answer["next"] == "done"
    assert survey(stage) == [GROUP]


@pytest.mark.parametrize(
    ("lost", "reason"), [("groups", f"group {GROUP} is gone"), ("parameters", "the image parameter is gone")]
)
def test_what_is_gone_needs_no_rollout(stage: Stage, lost: str, reason: str) -> None:
    getattr(stage, lost).clear()
    assert (look(stage)["next"], look(stage)["reason"]) == ("done", reason)


# With everybody at work: the rollout looks each 15 s.


def roll_out(account: Account, seconds: int, version: int = 2) -> str:
    """How the execution stands after so many seconds."""
    for n in range(1, seconds + 1):
        account.second(n)
        if n % 15 == 0 and (answer := look(account.stage, version=version))["next"] != "wait":
            return str(answer["next"])
    return "wait"


def test_a_fleet_is_replaced_one_by_one_and_never_short_of_more_than_one(stage: Stage) -> None:
    account = Account(stage)
    assert roll_out(account, 900) == "done"
    assert {stage.images.get(i.id, "ami-1") for i in stage.groups[GROUP].instances} == {"ami-2"}
    assert len(stage.groups[GROUP].instances) == stage.groups[GROUP].desired == 3
    assert min(account.out) == 2
    assert [call[0] for call in stage.made("terminate")] == ["i-3", "i-2", "i-1"]


def test_a_broken_image_costs_one_instance_and_no_more(stage: Stage) -> None:
    account = Account(stage, broken="ami-2")
    assert roll_out(account, 1500) == "stop"
    assert stage.made("drain") == [("i-3", "ami_rollout")]
    assert {"i-1", "i-2"} <= {i.id for i in stage.groups[GROUP].instances}
    assert "did not register" in str(stage.recorder.decisions[-1]["reason"])


def test_an_update_during_a_rollout_goes_on_to_the_newest(stage: Stage) -> None:
    account = Account(stage)
    assert roll_out(account, 60) == "wait"
    stage.parameters[SLUG] = ParameterImage("ami-3", 3, stage.now)
    assert look(stage, version=2)["next"] == "done"
    assert roll_out(account, 900, version=3) == "done"
    assert {stage.images[i.id] for i in stage.groups[GROUP].instances} == {"ami-3"}
    assert min(account.out) == 2


def test_a_way_back_is_an_update_like_any_other(stage: Stage) -> None:
    account = Account(stage, broken="ami-2")
    assert roll_out(account, 1500) == "stop"
    stage.parameters[SLUG] = ParameterImage("ami-1", 3, stage.now)
    assert look(stage, version=3)["next"] == "wait", "the broken one is still there, and only that"
    assert len(stage.made("drain")) == 1
