"""A group waits for an instance that has to go: answered by its machine, or by reconcile when that one or its event
is lost."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from fleet_control.errors import DatabaseUnavailable

from .fakes import group_name, refused
from .warned import GROUP, ME, SAMPLES, World


@pytest.fixture
def world() -> World:
    return World()


def test_without_a_job_it_goes_once_nothing_can_come(world: World) -> None:
    world.waits()
    assert world.deliver("terminating") == "started"
    assert world.look("terminating") == "wait"
    for seconds, expected in ((5, "wait"), (10, "done")):
        world.after(seconds)
        assert world.look("terminating") == expected
    assert world.lifecycle == "Terminating:Proceed"
    assert world.drain() == {"reason": "terminating"}


def test_with_a_job_it_waits_with_heartbeats_until_the_job_has_ended(world: World) -> None:
    world.waits()
    job = world.stage.lease(ME, seconds_left=9999)
    world.deliver("terminating")
    for seconds in (0, 5, 300, 900):
        world.after(seconds)
        assert world.look("terminating") == "wait"
    assert world.stage.made("let_go") == []
    assert len(world.stage.made("keep_waiting")) == 3
    world.ends(job)
    assert world.look("terminating") == "done"
    assert world.statuses() == ["completed"]
    assert not world.stage.made("requeue")


def test_a_job_without_end_is_given_back_before_the_time_out_and_the_instance_goes(world: World) -> None:
    world.waits()
    world.stage.lease(ME, seconds_left=99_999)
    world.deliver("terminating")
    world.look("terminating")
    world.after(3584)
    assert world.look("terminating") == "wait"
    world.after(3585)
    assert world.look("terminating") == "done"
    assert world.statuses() == ["queued"]
    assert [call[0] for call in world.stage.calls if call[0] in ("requeue", "let_go")] == ["requeue", "let_go"]


def test_our_own_scale_in_is_let_go_at_once(world: World) -> None:
    world.waits()
    world.stage.workers[ME]["is_draining"] = 1
    world.stage.write(world.stage.workers[ME], "fleet_drained", {"reason": "idle", "committed": True})
    assert world.deliver("terminating") == "let go"
    assert world.stage.made("let_go") == [(GROUP, ME)]
    assert not world.stage.executions


def test_a_hook_that_cannot_be_answered_at_once_has_a_machine_that_tries_again(world: World) -> None:
    world.waits()
    world.stage.workers.clear()
    world.stage.broken["now"] = DatabaseUnavailable("away")
    assert world.deliver("terminating") == "started"
    del world.stage.broken["now"]
    assert world.look("terminating") == "done"
    assert world.lifecycle == "Terminating:Proceed"


def test_an_instance_that_never_registered_is_let_go_at_once(world: World) -> None:
    world.waits()
    world.stage.workers.clear()
    assert world.deliver("terminating") == "let go"
    assert world.lifecycle == "Terminating:Proceed"


def test_another_hook_of_the_group_is_somebody_elses(world: World) -> None:
    world.waits()
    assert world.deliver("terminating", LifecycleHookName="ship-logs") == "ignored"
    assert not world.stage.executions


def test_an_answer_that_aws_refuses_has_a_machine_that_tries_again(world: World) -> None:
    world.waits()
    world.stage.workers.clear()
    world.stage.broken["let_go"] = refused("CompleteLifecycleAction")
    assert world.deliver("terminating") == "started"
    del world.stage.broken["let_go"]
    assert world.look("terminating") == "done"
    assert world.lifecycle == "Terminating:Proceed"


@pytest.mark.parametrize("order", list(itertools.permutations(SAMPLES)), ids=" then ".join)
def test_the_warning_sets_the_end_whichever_notice_comes_first(world: World, order: tuple[str, ...]) -> None:
    """An interruption fires the hook too: two machines, one instance."""
    world.waits()
    job = world.stage.lease(ME)
    world.knows(job, ran=40, durations=[60.0] * 9)
    for kind in (*order, *order):
        world.deliver(kind)
        assert world.look(kind) == "wait"
    assert world.drain()["reason"] == "spot_interruption"
    world.after(104)
    assert (world.look("terminating"), world.statuses()) == ("wait", ["leased"])
    world.after(105)
    assert (world.look("terminating"), world.statuses()) == ("done", ["queued"])
    assert world.look("interruption") == "done"
    assert world.stage.dispatches[job]["attempts"] == 0
    assert world.lifecycle == "Terminating:Proceed"


def test_a_warned_worker_whose_job_ended_early_is_let_go_early(world: World) -> None:
    world.waits()
    job = world.stage.lease(ME)
    world.knows(job, ran=40, durations=[60.0] * 9)
    for kind in SAMPLES:
        world.deliver(kind)
        world.look(kind)
    world.after(20)
    world.ends(job)
    world.look("terminating")
    world.after(25)
    assert world.look("terminating") == "done"
    assert world.statuses() == ["completed"]


# Lost: reconcile alone.


def test_a_lost_event_without_a_job_is_answered_within_90_s(world: World) -> None:
    world.waits()
    for seconds in range(0, 90, 10):
        world.after(seconds)
        world.tick()
    assert world.lifecycle == "Terminating:Proceed"
    assert world.stage.made("mark_terminating") == [(ME,)]


def test_a_lost_event_with_a_job_is_waited_for_with_heartbeats(world: World) -> None:
    world.waits()
    job = world.stage.lease(ME)
    for seconds in range(0, 301, 10):
        world.after(seconds)
        world.tick()
    assert world.stage.workers[ME]["is_draining"] == 1
    assert len(world.stage.made("keep_waiting")) == 30
    assert world.lifecycle == "Terminating:Wait"
    world.ends(job)
    world.after(310)
    world.tick()
    assert world.lifecycle == "Terminating:Proceed"
    assert not world.stage.made("requeue")


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_a_machine_that_dies_at_any_look_is_picked_up(world: World, looks: int) -> None:
    world.waits()
    world.deliver("terminating")
    for n in range(looks):
        world.after(5 * n)
        world.look("terminating")
    for seconds in range(10, 100, 10):
        world.after(seconds)
        world.tick()
    assert world.lifecycle == "Terminating:Proceed"


def test_a_machine_that_died_between_the_mark_and_the_answer_loses_nothing(world: World) -> None:
    world.waits()
    world.stage.lease(ME, seconds_left=99_999)
    world.deliver("terminating")
    world.look("terminating")
    world.after(3590)
    world.stage.broken["let_go"] = refused("CompleteLifecycleAction")
    with pytest.raises(type(refused(""))):
        world.look("terminating")
    del world.stage.broken["let_go"]
    assert world.statuses() == ["queued"]
    world.tick()
    assert world.lifecycle == "Terminating:Proceed"


def test_one_hook_that_cannot_be_answered_keeps_nobody_else_waiting(world: World) -> None:
    world.stage.fleet("face-swap", desired=1)
    world.stage.instance("i-2", "face-swap")
    world.stage.moved("i-2", "InService", "Terminating:Wait")
    world.waits()
    world.stage.workers.clear()
    world.stage.broken[f"let_go {group_name('face-swap')}"] = refused("CompleteLifecycleAction")
    assert world.tick().failures == 1
    assert world.lifecycle == "Terminating:Proceed"


@pytest.mark.parametrize("ran", [False, True])
def test_a_fleet_on_hold_answers_too_and_kills_nobody(world: World, ran: bool) -> None:
    tags = dict(world.stage.groups[GROUP].tags) | {"fleet:idle-seconds": "soon"}
    world.stage.groups[GROUP] = replace(world.stage.groups[GROUP], tags=tags)
    world.waits()
    job = world.stage.lease(ME, seconds_left=9999)
    for seconds in (0, 10, 200):
        world.after(seconds)
        assert world.tick().held == 1
    assert (world.lifecycle, world.statuses()) == ("Terminating:Wait", ["leased"])
    assert len(world.stage.made("keep_waiting")) == 2
    if ran:
        world.ends(job)
    else:
        world.after(3590)
    world.tick()
    assert world.lifecycle == "Terminating:Proceed"
    assert world.statuses() == (["completed"] if ran else ["queued"])
    assert not world.stage.made("set_desired")


def test_what_is_gone_already_is_let_go_and_its_job_given_back(world: World) -> None:
    world.waits()
    world.stage.lease(ME)
    world.stage.instances[ME] = replace(world.stage.instances[ME], state="terminated")
    world.tick()
    assert world.statuses() == ["queued"]
    assert world.lifecycle == "Terminating:Proceed"


def test_every_answer_of_reconcile_is_told(world: World) -> None:
    world.waits()
    world.tick()
    assert world.stage.recorder.decisions[-1]["hooks"] == {ME: "wait: its polls are stopped first"}
