"""The steps of one drain with fakes around them: nobody busy is killed, nothing is done twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fleet_control.act.asg import GroupInstance
from fleet_control.errors import Blind, DatabaseUnavailable, LockBusy
from fleet_control.flows.scale_in import Ports, scale_in
from fleet_control.messages.tasks import parse_scale_in

from .fakes import NOW, Stage, ago, group_name, ports_of

GROUP = group_name("image-to-video")


@pytest.fixture
def stage() -> Stage:
    """Two instances; i-1 is drained since ten seconds and has been refused once."""
    stage = Stage(now=ago(10))
    stage.fleet(desired=2)
    stage.instance("i-1", is_draining=1, last_seen_at=ago(6))
    stage.instance("i-2")
    stage.write(stage.workers["i-1"], "fleet_drained", {"reason": "idle"})
    stage.now = NOW
    return stage


def step(stage: Stage, name: str, **drain: Any) -> dict[str, Any]:
    known = {"instance_id": "i-1", "worker_row_id": 1, "drain_id": 1, "group": GROUP}
    known |= {"workflows": ["image-to-video"], "look_seconds": 3, "limit_seconds": 60, "polled_at": None}
    return scale_in(ports_of(stage, Ports), parse_scale_in({"step": name, "drain": known | drain}))


def test_a_look_changes_nothing_and_hands_on_what_it_saw(stage: Stage) -> None:
    answer = step(stage, "look")
    assert (answer["next"], answer["drain"]["polled_at"]) == ("wait", "2026-01-05T11:59:54")
    assert not stage.made("commit_drain")
    stage.workers["i-1"]["last_seen_at"] = ago(3)
    assert step(stage, "look", **answer["drain"])["next"] == "terminate"


def test_a_termination_is_made_final_before_it_is_made(stage: Stage) -> None:
    stage.now = NOW.replace(minute=1)
    answer = step(stage, "terminate")
    changes = [call[0] for call in stage.calls if call[0] in ("commit_drain", "terminate")]
    assert changes == ["commit_drain", "terminate"]
    assert (answer["next"], answer["reason"]) == ("done", "terminated, desired lowered at 1")
    assert stage.made("terminate") == [("i-1", True)]


def test_two_terminations_in_one_group_wait_for_each_other(stage: Stage) -> None:
    """Side by side both could see more than desired, and leave a place to launch into."""
    stage.now = NOW.replace(minute=1)
    stage.lock_is_free = False
    with pytest.raises(LockBusy):
        step(stage, "terminate")
    assert not stage.made("terminate")
    stage.lock_is_free = True
    assert step(stage, "terminate")["next"] == "done"
    read = [call[:2] for call in stage.calls if call[0] in ("stage_lock", "group", "terminate")]
    assert read[-3:] == [("stage_lock", f"terminate-{GROUP}"), ("group", GROUP), ("terminate", "i-1")]


def test_a_repeated_termination_lowers_desired_once(stage: Stage) -> None:
    stage.now = NOW.replace(minute=1)
    for _ in range(2):
        answer = step(stage, "terminate")
    assert stage.made("terminate") == [("i-1", True)]
    assert (answer["next"], stage.groups[GROUP].desired) == ("done", 1)


def test_a_final_drain_is_carried_through_after_a_failure(stage: Stage) -> None:
    stage.now = NOW.replace(minute=1)
    stage.broken["terminate"] = Blind("away")
    with pytest.raises(Blind):
        step(stage, "terminate")
    del stage.broken["terminate"]
    stage.job()
    assert step(stage, "look")["next"] == "terminate"
    step(stage, "terminate")
    assert stage.groups[GROUP].instances[0].lifecycle == "Terminating"


@pytest.mark.parametrize("step_name", ["look", "terminate"])
def test_a_job_that_slipped_in_is_finished(stage: Stage, step_name: str) -> None:
    stage.now = NOW.replace(minute=1)
    stage.lease("i-1")
    assert step(stage, step_name)["next"] == "release"
    assert not stage.made("terminate")
    assert step(stage, "release")["reason"] == "serves on"
    assert stage.workers["i-1"]["is_draining"] == 0


def test_a_job_that_slipped_in_at_the_very_last_moment_is_finished(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came between the look and the final drain."""
    stage.now = NOW.replace(minute=1)
    ports = ports_of(stage, Ports)
    leases = ports.workers.leases
    monkeypatch.setattr(ports.workers, "leases", lambda name: [] if stage.lease(name) else leases(name))
    given = {"instance_id": "i-1", "worker_row_id": 1, "drain_id": 1, "group": GROUP, "workflows": ["image-to-video"]}
    task = parse_scale_in({"step": "terminate", "drain": given | {"look_seconds": 3, "limit_seconds": 60}})
    assert scale_in(ports, task)["next"] == "release"
    assert not stage.made("terminate")


def test_a_job_that_waits_is_served_rather_than_launched_for(stage: Stage) -> None:
    stage.now = NOW.replace(minute=1)
    stage.job()
    assert step(stage, "terminate")["next"] == "release"


def test_a_rebalance_that_left_more_than_desired_keeps_desired(stage: Stage) -> None:
    stage.groups[GROUP] = replace(stage.groups[GROUP], desired=1)
    stage.now = NOW.replace(minute=1)
    assert step(stage, "terminate")["reason"] == "terminated, desired kept at 1"


@pytest.mark.parametrize(
    ("instances", "reason"),
    [
        pytest.param((), "the group is rid of the instance already", id="gone from its group"),
        pytest.param(
            (GroupInstance("i-1", "Terminating:Wait"),), "the group is rid of the instance already", id="on its way out"
        ),
    ],
)
def test_an_instance_its_group_has_given_up_is_not_terminated_again(
    stage: Stage, instances: tuple[GroupInstance, ...], reason: str
) -> None:
    stage.groups[GROUP] = replace(stage.groups[GROUP], instances=instances)
    stage.now = NOW.replace(minute=1)
    answer = step(stage, "terminate")
    assert (answer["next"], answer["reason"]) == ("done", reason)
    assert not stage.made("terminate")


def test_a_group_that_is_gone_ends_it(stage: Stage) -> None:
    del stage.groups[GROUP]
    stage.now = NOW.replace(minute=1)
    assert step(stage, "terminate")["next"] == "done"


@pytest.mark.parametrize("step_name", ["look", "terminate", "release"])
def test_a_worker_whose_row_is_gone_ends_it(stage: Stage, step_name: str) -> None:
    del stage.workers["i-1"]
    assert step(stage, step_name)["next"] == "done"


@pytest.mark.parametrize("step_name", ["look", "terminate"])
def test_an_interruption_takes_over(stage: Stage, step_name: str) -> None:
    stage.write(stage.workers["i-1"], "fleet_drained", {"reason": "spot_interruption"})
    assert step(stage, step_name)["next"] == "done"
    assert step(stage, "release")["reason"] == "the drain is no longer ours to undo"
    assert stage.workers["i-1"]["is_draining"] == 1


def test_a_release_leaves_an_admins_drain_alone(stage: Stage) -> None:
    stage.audit.clear()
    assert step(stage, "release")["reason"] == "the drain is no longer ours to undo"
    assert stage.workers["i-1"]["is_draining"] == 1


def test_a_release_never_undoes_a_final_drain(stage: Stage) -> None:
    stage.write(stage.workers["i-1"], "fleet_drained", {"reason": "idle", "committed": True})
    step(stage, "release")
    step(stage, "release", drain_id=2)
    assert stage.workers["i-1"]["is_draining"] == 1


def test_blind_fails_so_that_the_machine_tries_again(stage: Stage) -> None:
    stage.broken["waiting"] = DatabaseUnavailable("away")
    with pytest.raises(DatabaseUnavailable):
        step(stage, "look")
    assert not stage.made("terminate")


def test_every_step_tells_what_is_next_and_why(stage: Stage) -> None:
    step(stage, "look")
    (told,) = stage.recorder.decisions
    assert (told["rule"], told["instance_id"], told["next"]) == ("scale-in look", "i-1", "wait")
    assert told["reason"] == "waiting for the worker to poll and be refused"
