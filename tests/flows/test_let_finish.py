"""Jobs of a warned worker that may still finish: expected to end in time, or given back before the end."""

from __future__ import annotations

import pytest
from fleet_control.errors import DatabaseUnavailable

from .fakes import ago
from .warned import ME, World


@pytest.fixture
def world() -> World:
    return World()


def test_a_job_that_ends_in_time_is_let_finish_and_the_others_come_back_at_once(world: World) -> None:
    short, long = world.stage.lease(ME), world.stage.lease(ME)
    world.knows(short, ran=50, durations=[60.0] * 9)
    world.stage.leased_at[long] = ago(-60)
    world.stage.durations["image-to-video"] = [120.0] * 9
    assert world.deliver("interruption") == "started"
    assert world.look("interruption") == "wait"
    assert world.statuses() == ["leased", "queued"]
    assert world.stage.workers[ME]["is_draining"] == 1
    assert world.drain() == {
        "reason": "spot_interruption",
        "finish_by": "2026-01-05T12:01:45",
        "finishing": [short],
    }


def test_the_figures_behind_it_stand_in_the_decision_record(world: World) -> None:
    job = world.stage.lease(ME)
    world.knows(job, ran=40, durations=[60.0] * 9)
    world.deliver("interruption")
    world.look("interruption")
    (figures,) = world.stage.recorder.decisions[-1]["figures"]
    assert (figures["ran_s"], figures["p90_s"], figures["of_jobs"], figures["left_s"]) == (40, 60, 9, 105)
    assert figures["may_finish"] is True


@pytest.mark.parametrize("who", ["machine", "reconcile"])
def test_a_job_that_did_not_end_is_given_back_15_s_before_the_instance_does(world: World, who: str) -> None:
    job = world.stage.lease(ME)
    world.knows(job, ran=40, durations=[60.0] * 9)
    world.deliver("interruption")
    world.look("interruption")
    world.waits()
    for seconds, expected in ((60, "leased"), (104, "leased"), (105, "queued")):
        world.after(seconds)
        _ = world.look("interruption") if who == "machine" else world.tick()
        assert world.statuses() == [expected]
    assert world.stage.dispatches[job]["attempts"] == 0
    assert set(world.stage.made("requeue")) == {(job, "spot_interruption")}


def test_a_job_leased_after_the_warning_comes_back_whatever_is_expected_of_it(world: World) -> None:
    first = world.stage.lease(ME)
    world.knows(first, ran=40, durations=[60.0] * 9)
    world.deliver("interruption")
    world.look("interruption")
    world.stage.lease(ME)
    world.look("interruption")
    assert world.statuses() == ["leased", "queued"]


def test_a_warning_twice_does_not_give_more_time(world: World) -> None:
    job = world.stage.lease(ME)
    world.knows(job, ran=40, durations=[60.0] * 9)
    world.deliver("interruption")
    world.look("interruption")
    before = world.drain()
    world.after(30)
    assert world.deliver("interruption") == "duplicate"
    world.look("interruption")
    assert world.drain() == before
    assert len(world.stage.audit) == 1


def test_a_machine_that_dies_after_the_warning_is_made_good_without_taking_what_may_finish(world: World) -> None:
    short, long = world.stage.lease(ME), world.stage.lease(ME)
    world.knows(short, ran=59, durations=[60.0] * 9)
    world.stage.leased_at[long] = ago(-100)
    world.deliver("interruption")
    world.stage.broken["requeue"] = DatabaseUnavailable("away")
    with pytest.raises(DatabaseUnavailable):
        world.look("interruption")
    del world.stage.broken["requeue"]
    world.tick()
    assert world.statuses() == ["leased", "queued"]
