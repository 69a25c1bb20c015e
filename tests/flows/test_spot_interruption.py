"""Notices about instances with fakes around them: doubled, late, lost or in any order, the jobs come back once."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fleet_control.errors import Blind, DatabaseUnavailable
from fleet_control.flows.notices import Ports, receive
from fleet_control.flows.reconcile import Ports as ReconcilePorts
from fleet_control.flows.reconcile import reconcile
from fleet_control.flows.spot_interruption import respond
from fleet_control.messages.spot import parse_spot
from fleet_control.messages.tasks import InterruptionTask

from .fakes import NOW, Stage, ago, group_name, ports_of

GROUP = group_name("image-to-video")
EVENTS = Path(__file__).parents[2] / "events"
ME = "i-0a1b2c3d4e5f60718"
NOTICES = {
    "interruption": "warning",
    "terminating": "terminate_action",
    "shutting-down": "shutting_down",
    "terminated": "terminated",
}
FOREIGN = ("interruption", "shutting-down", "terminated")
"""Those that come for every instance of the account."""
LOOKS = 25


def deliver(stage: Stage, notice: str) -> dict[str, Any]:
    message = parse_spot(json.loads((EVENTS / f"spot_interruption_{NOTICES[notice]}.json").read_text()))
    assert not isinstance(message, InterruptionTask)
    return receive(ports_of(stage, Ports), message)


def look(stage: Stage, notice: str, **changes: Any) -> dict[str, Any]:
    given = {"instance_id": ME, "kind": notice, "looks": 0, "max_looks": LOOKS, "look_seconds": 5} | changes
    task = parse_spot({"step": "respond", "notice": given})
    assert isinstance(task, InterruptionTask)
    return respond(ports_of(stage, Ports), task)


@pytest.fixture
def stage() -> Stage:
    """One worker with two jobs."""
    stage = Stage()
    stage.fleet(desired=1)
    stage.instance(ME)
    stage.lease(ME, attempts=1)
    stage.lease(ME, attempts=3)
    return stage


def back_in_the_queue(stage: Stage) -> list[int]:
    return [row["attempts"] for row in stage.dispatches.values() if row["status"] == "queued"]


@pytest.mark.parametrize("notice", NOTICES)
def test_a_notice_starts_one_execution_however_often_it_comes(stage: Stage, notice: str) -> None:
    assert [deliver(stage, notice)["outcome"] for _ in range(3)] == ["started", "duplicate", "duplicate"]
    assert list(stage.executions) == [f"{ME}-{notice}"]


def test_a_notice_is_its_machines_input(stage: Stage) -> None:
    deliver(stage, "interruption")
    task = parse_spot({"step": "respond"} | dict(stage.executions[f"{ME}-interruption"]))
    assert isinstance(task, InterruptionTask)
    assert (task.notice.instance_id, task.notice.kind, task.notice.group) == (ME, "interruption", GROUP)
    assert (task.notice.max_looks, task.notice.look_seconds) == (LOOKS, 5)
    assert task.notice.finish_by == ago(-105)


def test_a_fleets_own_times_are_its_machines(stage: Stage) -> None:
    tags = {"fleet:notice-seconds": "12", "fleet:end-margin-seconds": "2"}
    stage.groups[GROUP] = replace(stage.groups[GROUP], tags=dict(stage.groups[GROUP].tags) | tags)
    deliver(stage, "interruption")
    deliver(stage, "terminating")
    warned, waiting = (stage.executions[f"{ME}-{kind}"]["notice"] for kind in ("interruption", "terminating"))
    assert isinstance(warned, dict)
    assert isinstance(waiting, dict)
    assert (warned["look_seconds"], warned["max_looks"], warned["finish_by"]) == (1, 13, ago(-10).isoformat())
    assert (waiting["group"], waiting["end_margin_seconds"]) == (GROUP, 2)


@pytest.mark.parametrize(
    ("tags", "broken"),
    [
        pytest.param({"fleet:notice-seconds": "soon"}, {}, id="the policy is wrong"),
        pytest.param({}, {"group": Blind("away")}, id="the group cannot be read"),
        pytest.param({}, {"group_of": Blind("away")}, id="nor can it be told which one it is"),
    ],
)
def test_a_warning_does_not_wait_for_a_policy(stage: Stage, tags: dict[str, str], broken: dict[str, Exception]) -> None:
    stage.groups[GROUP] = replace(stage.groups[GROUP], tags=dict(stage.groups[GROUP].tags) | tags)
    stage.broken |= broken
    assert deliver(stage, "interruption")["outcome"] == "started"
    assert stage.executions[f"{ME}-interruption"]["notice"]["finish_by"] == ago(-105).isoformat()  # type: ignore[index]


@pytest.mark.parametrize(("late", "left"), [(60, 45), (200, -95), (-30, 105)])
def test_a_late_warning_leaves_less_time_and_no_clock_gives_more(stage: Stage, late: float, left: float) -> None:
    stage.now = NOW + timedelta(seconds=late)
    deliver(stage, "interruption")
    given = stage.executions[f"{ME}-interruption"]["notice"]
    assert isinstance(given, dict)
    assert given["finish_by"] == (stage.now + timedelta(seconds=left)).isoformat()


@pytest.mark.parametrize("notice", FOREIGN)
def test_an_instance_nobody_here_knows_is_ignored(notice: str) -> None:
    stage = Stage()
    assert deliver(stage, notice)["outcome"] == "ignored"
    assert not stage.executions


def test_a_warning_before_the_registration_is_kept_until_the_worker_is_there(stage: Stage) -> None:
    row = stage.workers.pop(ME)
    stage.dispatches.clear()
    assert deliver(stage, "interruption")["outcome"] == "started"
    assert look(stage, "interruption")["next"] == "wait"
    stage.workers[ME] = row
    look(stage, "interruption")
    assert row["is_draining"] == 1


def test_a_dead_instance_that_never_registered_needs_nothing(stage: Stage) -> None:
    del stage.workers[ME]
    stage.dispatches.clear()
    assert deliver(stage, "terminated")["outcome"] == "ignored"


def test_a_warning_drains_and_gives_the_jobs_back_at_no_cost(stage: Stage) -> None:
    answer = look(stage, "interruption")
    assert (answer["next"], answer["requeued"], answer["notice"]["looks"]) == ("wait", 2, 1)
    assert back_in_the_queue(stage) == [0, 2]
    assert stage.workers[ME]["is_draining"] == 1
    assert [call[1] for call in stage.made("requeue")] == ["spot_interruption"] * 2


def test_polls_are_stopped_before_the_jobs_come_back(stage: Stage) -> None:
    look(stage, "interruption")
    changes = [call[0] for call in stage.calls if call[0] in ("mark_interrupted", "requeue")]
    assert changes == ["mark_interrupted", "requeue", "requeue"]


def test_a_job_leased_by_a_poll_under_way_comes_back_at_the_next_look(stage: Stage) -> None:
    first = look(stage, "interruption")
    stage.lease(ME)
    second = look(stage, "interruption", **first["notice"])
    assert (second["requeued"], second["notice"]["looks"]) == (1, 2)
    assert len(back_in_the_queue(stage)) == 3


def test_looks_outlast_the_longest_wait_of_a_lease_and_then_end(stage: Stage) -> None:
    assert look(stage, "interruption", looks=LOOKS - 2)["next"] == "wait"
    assert look(stage, "interruption", looks=LOOKS - 1)["next"] == "done"
    assert LOOKS * 5 >= 120


def test_a_stuck_job_is_left_as_it_is(stage: Stage) -> None:
    stage.dispatches.clear()
    stuck = stage.lease(ME, seconds_left=-60, attempts=3)
    assert look(stage, "terminated")["requeued"] == 0
    assert stage.dispatches[stuck]["status"] == "leased"


def test_what_is_shutting_down_keeps_its_row_until_it_is_gone(stage: Stage) -> None:
    assert look(stage, "shutting-down")["next"] == "done"
    assert ME in stage.workers
    assert stage.workers[ME]["is_draining"] == 1
    assert look(stage, "terminated")["next"] == "done"
    assert ME not in stage.workers


@pytest.mark.parametrize("order", list(itertools.permutations(NOTICES)), ids=" then ".join)
def test_notices_in_any_order_and_twice_give_each_job_back_once(stage: Stage, order: tuple[str, ...]) -> None:
    for notice in (*order, *order):
        if deliver(stage, notice)["outcome"] != "ignored":
            look(stage, notice)
    assert back_in_the_queue(stage) == [0, 2]
    assert ME not in stage.workers


@pytest.mark.parametrize("notice", FOREIGN)
def test_a_machine_that_died_after_the_mark_is_made_good_by_reconcile(stage: Stage, notice: str) -> None:
    stage.broken["requeue"] = DatabaseUnavailable("away")
    with pytest.raises(DatabaseUnavailable):
        look(stage, notice)
    del stage.broken["requeue"]
    if notice != "interruption":
        stage.instances.pop(ME)
        stage.groups.clear()
    reconcile(ports_of(stage, ReconcilePorts, worker_limit=50), "Tick")
    assert back_in_the_queue(stage) == [0, 2]


def test_a_lost_notice_of_the_end_is_made_good_by_reconcile(stage: Stage) -> None:
    stage.instances.clear()
    stage.groups.clear()
    reconcile(ports_of(stage, ReconcilePorts, worker_limit=50), "Tick")
    assert back_in_the_queue(stage) == [0, 2]
    assert ME not in stage.workers


def test_a_late_warning_about_what_is_gone_brings_nobody_back(stage: Stage) -> None:
    look(stage, "terminated")
    assert look(stage, "interruption")["requeued"] == 0
    assert ME not in stage.workers


@pytest.mark.parametrize(
    ("call", "error"), [("one", DatabaseUnavailable("away")), ("group_of", Blind("autoscaling away"))]
)
def test_a_notice_that_cannot_be_judged_fails_so_that_it_is_repeated(stage: Stage, call: str, error: Exception) -> None:
    stage.workers.clear()
    stage.dispatches.clear()
    stage.groups.clear()
    stage.broken[call] = error
    with pytest.raises(type(error)):
        deliver(stage, "interruption")
    assert not stage.executions


@pytest.mark.parametrize("notice", NOTICES)
def test_a_notice_while_the_database_is_away_starts_its_machine_if_a_group_of_ours_knows_the_instance(
    stage: Stage, notice: str
) -> None:
    stage.broken["one"] = DatabaseUnavailable("away")
    assert deliver(stage, notice)["outcome"] == "started"


def test_every_notice_is_told_with_its_outcome(stage: Stage) -> None:
    deliver(stage, "interruption")
    look(stage, "interruption")
    received, responded = stage.recorder.decisions
    assert (received["rule"], received["outcome"], received["instance_id"]) == ("spot interruption", "started", ME)
    assert (responded["outcome"], responded["requeued"]) == ("responded", [1, 2])
