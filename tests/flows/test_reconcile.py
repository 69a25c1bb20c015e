"""One look at the stage with fakes around it: what is done, what is held, and what one failure leaves alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fleet_control.act.ec2 import Ec2Instance
from fleet_control.errors import Blind, DatabaseBusy, DatabaseUnavailable, SchemaNotMigrated, SecretUnreadable
from fleet_control.flows.reconcile import Ports, Result, reconcile

from .fakes import NOW, Stage, ago, group_name, ports_of, refused

WRITES = {"set_desired", "drain", "undrain", "requeue", "remove", "start", "suspend_az_rebalance", "terminate"}
A, B = group_name("image-to-video"), group_name("face-swap")


def look(stage: Stage, limit: int = 50) -> Result:
    return reconcile(ports_of(stage, Ports, worker_limit=limit), trigger="Tick")


def writes(stage: Stage) -> list[tuple[Any, ...]]:
    return [call for call in stage.calls if call[0] in WRITES]


def reasons(stage: Stage) -> dict[str, str]:
    return {decision["fleet"]: decision["reason"] for decision in stage.recorder.decisions}


@pytest.fixture
def stage() -> Stage:
    """Two fleets with jobs waiting for each."""
    stage = Stage()
    stage.fleet("image-to-video")
    stage.fleet("face-swap")
    for _ in range(3):
        stage.job("image-to-video")
    stage.job("face-swap")
    return stage


def test_one_look_answers_every_fleet(stage: Stage) -> None:
    result = look(stage)
    assert stage.made("set_desired") == [(B, 1), (A, 2)]
    assert (result.outcome, result.fleets, result.failures) == ("acted", 2, 0)
    assert {d["fleet"]: d["set_desired"] for d in stage.recorder.decisions} == {A: 2, B: 1}


def test_a_second_look_does_nothing_and_says_so(stage: Stage) -> None:
    look(stage)
    stage.calls.clear()
    look(stage)
    assert writes(stage) == []
    assert [d["rule"] for d in stage.recorder.decisions[2:]] == ["steady", "steady"]


@pytest.mark.parametrize(
    ("call", "error", "reason"),
    [
        ("stage_lock", DatabaseUnavailable("the host cannot be reached"), "database unavailable"),
        ("stage_lock", SecretUnreadable("no such secret"), "secret unreadable"),
        ("workflows", SchemaNotMigrated("no such table"), "schema not migrated"),
        ("live", DatabaseUnavailable("the connection was lost"), "database unavailable"),
        ("fleet", DatabaseUnavailable("max_statement_time"), "database unavailable"),
        ("groups", Blind("autoscaling:DescribeAutoScalingGroups failed"), "aws api unreadable"),
        ("not_running", Blind("ec2:DescribeInstances failed"), "aws api unreadable"),
        ("lookup", Blind("ec2:DescribeInstances failed"), "aws api unreadable"),
        ("running", Blind("states:ListExecutions failed"), "aws api unreadable"),
    ],
)
def test_blind_means_hold_and_nothing_is_written(stage: Stage, call: str, error: Exception, reason: str) -> None:
    stage.instance("i-1", is_draining=1)
    stage.write(stage.workers["i-1"], "fleet_drained", {"reason": "idle"})
    stage.now = NOW.replace(minute=5)
    stage.broken[call] = error
    result = look(stage)
    assert writes(stage) == []
    assert (result.outcome, result.reason) == ("hold", reason)
    assert reasons(stage) == {"*": f"{reason}: {error}"}


def test_a_look_under_way_elsewhere_counts_as_ours(stage: Stage) -> None:
    stage.lock_is_free = False
    result = look(stage)
    assert (result.outcome, result.failures) == ("busy", 0)
    assert [call[0] for call in stage.calls] == ["stage_lock"]


def test_one_fleets_failing_change_does_not_stop_the_others(stage: Stage) -> None:
    stage.broken[f"set_desired {B}"] = refused("SetDesiredCapacity")
    result = look(stage)
    assert (A, 2) in stage.made("set_desired")
    assert (result.outcome, result.failures) == ("acted", 1)
    assert [type(error).__name__ for error in stage.recorder.failures] == ["ClientError"]


def test_a_bad_tag_holds_its_fleet_alone_and_names_group_tag_and_value(stage: Stage) -> None:
    tags = dict(stage.groups[B].tags) | {"fleet:backlog-target": "lots"}
    stage.groups[B] = replace(stage.groups[B], tags=tags, desired=4)
    result = look(stage)
    assert stage.made("set_desired") == [(A, 2)]
    assert result.held == 1
    assert reasons(stage)[B].startswith(f"group {B}: tag fleet:backlog-target = 'lots': ")


@pytest.mark.parametrize(
    ("state", "status"), [("running", "leased"), ("shutting-down", "queued"), ("terminated", "queued")]
)
def test_a_held_fleets_jobs_are_not_lost_with_its_instances(stage: Stage, state: str, status: str) -> None:
    stage.groups[B] = replace(stage.groups[B], tags=dict(stage.groups[B].tags) | {"fleet:idle-seconds": "-"}, desired=1)
    stage.instance("i-1", "face-swap", state=state)
    dispatch = stage.lease("i-1", "face-swap")
    assert look(stage).held == 1
    assert stage.dispatches[dispatch]["status"] == status
    assert ("i-1" in stage.workers) is (state != "terminated")
    assert B not in [group for group, _ in stage.made("set_desired")]


def test_capacity_is_set_even_where_az_rebalance_cannot_be_suspended(stage: Stage) -> None:
    stage.groups[A] = replace(stage.groups[A], suspended=frozenset())
    stage.broken["suspend_az_rebalance"] = refused("SuspendProcesses")
    assert look(stage).failures == 1
    assert stage.made("set_desired") == [(B, 1), (A, 2)]


def test_reads_are_as_many_for_fifty_fleets_as_for_one() -> None:
    counts = []
    for number in (1, 50):
        stage = Stage()
        for n in range(number):
            stage.fleet(f"workflow-{n}", desired=1)
            stage.instance(f"i-{n}", f"workflow-{n}")
            stage.lease(f"i-{n}", f"workflow-{n}")
        look(stage)
        counts.append([call[0] for call in stage.calls])
    assert counts[0] == counts[1]
    assert not WRITES & set(counts[0])


def test_our_drain_is_undone_before_anything_is_launched() -> None:
    stage = Stage()
    name = stage.fleet(desired=1)
    stage.instance("i-1")
    stage.workers["i-1"]["is_draining"] = 1
    stage.write(stage.workers["i-1"], "fleet_drained", {"reason": "idle"})
    stage.job()
    look(stage)
    assert [call[0] for call in writes(stage)] == ["undrain"]
    assert stage.groups[name].desired == 1


def test_the_longest_idle_goes_down_by_name_and_once() -> None:
    stage = Stage()
    stage.fleet(desired=2)
    stage.instance("i-1", active_at=ago(200))
    stage.instance("i-2", active_at=ago(300))
    for _ in range(2):
        look(stage)
    assert stage.made("drain") == [("i-2", "idle")]
    assert list(stage.executions) == ["i-2-1-0"]
    given = stage.executions["i-2-1-0"]["drain"]
    assert isinstance(given, dict)
    assert (given["group"], given["look_seconds"], given["limit_seconds"]) == (A, 3, 60)


def test_a_drain_whose_execution_has_died_is_started_again_under_a_name_of_its_own() -> None:
    stage = Stage()
    stage.fleet(desired=2)
    stage.instance("i-1", active_at=ago(200))
    stage.instance("i-2", active_at=ago(300))
    look(stage)
    stage.running.clear()
    stage.now = NOW.replace(minute=2)
    for row in stage.workers.values():
        row["last_seen_at"] = stage.now
    look(stage)
    look(stage)
    assert list(stage.executions) == ["i-2-1-0", "i-2-1-1"]
    assert len(stage.made("drain")) == 1


def test_a_start_that_fails_leaves_a_drain_for_the_pick_up() -> None:
    stage = Stage()
    stage.fleet(desired=2)
    stage.instance("i-1", active_at=ago(200))
    stage.instance("i-2", active_at=ago(300))
    stage.broken["start"] = refused("StartExecution")
    assert look(stage).failures == 1
    del stage.broken["start"]
    stage.now = NOW.replace(minute=2)
    for row in stage.workers.values():
        row["last_seen_at"] = stage.now
    look(stage)
    assert list(stage.executions) == ["i-2-1-1"]


def test_what_a_dead_instance_held_is_given_back_before_its_row_goes() -> None:
    stage = Stage()
    stage.fleet(desired=1)
    stage.instance("i-1", state="terminated")
    dispatch = stage.lease("i-1", attempts=2)
    look(stage)
    assert [call[0] for call in writes(stage)][:2] == ["requeue", "remove"]
    assert (stage.dispatches[dispatch]["status"], stage.dispatches[dispatch]["attempts"]) == ("queued", 1)
    assert "i-1" not in stage.workers


@pytest.mark.parametrize("call", ["requeue", "remove"])
def test_a_clean_up_that_fails_does_not_stop_capacity(call: str) -> None:
    stage = Stage()
    stage.fleet(desired=1)
    stage.instance("i-1", state="terminated")
    stage.lease("i-1")
    for _ in range(4):
        stage.job()
    stage.broken[call] = DatabaseBusy("deadlock")
    result = look(stage)
    assert result.failures == 1
    assert stage.made("set_desired") == [(A, 3)]
    assert "i-1" in stage.workers


def test_a_row_goes_only_when_its_jobs_were_given_back_whatever_becomes_of_others() -> None:
    stage = Stage()
    stage.fleet()
    stage.instance("i-1", state="terminated")
    stage.instance("i-2", state="terminated")
    first, _ = stage.lease("i-1"), stage.lease("i-2")
    stage.broken[f"requeue {first}"] = DatabaseBusy("deadlock")
    assert look(stage).failures == 1
    assert stage.made("remove") == [("i-2",)]
    stage.broken.clear()
    look(stage)
    assert stage.made("remove") == [("i-2",), ("i-1",)]


def test_a_job_leased_by_nobody_known_is_given_back() -> None:
    """A poll under way when the row went can still lease a job."""
    stage = Stage()
    stage.fleet()
    stage.instances["i-gone"] = Ec2Instance("i-gone", "terminated", ago(3600))
    dispatch = stage.lease("i-gone")
    look(stage)
    assert stage.made("lookup") == [("i-gone",)]
    assert stage.dispatches[dispatch]["status"] == "queued"


def test_a_job_of_an_admins_worker_that_ec2_does_not_know_is_left_to_its_lease() -> None:
    stage = Stage()
    stage.fleet()
    dispatch = stage.lease("i-elsewhere")
    look(stage)
    assert stage.dispatches[dispatch]["status"] == "leased"


def test_a_worker_launched_by_hand_is_left_alone() -> None:
    stage = Stage()
    stage.fleet()
    stage.instance("i-1")
    stage.groups[A] = replace(stage.groups[A], instances=())
    stage.lease("i-1")
    look(stage)
    assert stage.made("requeue") == stage.made("remove") == []


def test_every_decision_is_recorded_with_its_numbers_and_trigger(stage: Stage) -> None:
    look(stage)
    for decision in stage.recorder.decisions:
        assert decision["trigger"] == "Tick"
        assert {"wanted", "supply", "granted", "max", "backlog_target"} <= decision["numbers"].keys()


def test_what_is_cleaned_up_is_told_with_its_reason() -> None:
    stage = Stage()
    stage.fleet()
    stage.instance("i-1", state="terminated")
    dispatch = stage.lease("i-1")
    look(stage)
    told = {d["rule"]: d for d in stage.recorder.decisions}
    assert (told["requeue"]["dispatch_id"], told["requeue"]["reason"]) == (dispatch, "instance_terminated")
    assert (told["remove"]["instance_id"], told["remove"]["removed"]) == ("i-1", True)


def test_a_look_that_finds_another_under_way_is_told() -> None:
    stage = Stage(lock_is_free=False)
    assert look(stage).outcome == "busy"
    assert [d["rule"] for d in stage.recorder.decisions] == ["busy"]


def test_a_group_without_its_workflows_tag_is_held_and_keeps_its_capacity() -> None:
    stage = Stage()
    stage.fleet(desired=2)
    stage.instance("i-1")
    group = stage.groups[A]
    stage.groups[A] = replace(group, tags={})
    result = look(stage)
    assert (result.held, stage.groups[A].desired) == (1, 2)
    assert "tag fleet:workflows" in stage.recorder.decisions[0]["reason"]
