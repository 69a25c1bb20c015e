"""A group waits for an instance that has to go: answered by its machine, or by reconcile when that one or its event
is lost; and jobs of a warned worker that may still finish."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fleet_control.act.asg import GroupInstance
from fleet_control.errors import DatabaseUnavailable
from fleet_control.flows.notices import Ports, receive
from fleet_control.flows.reconcile import Ports as ReconcilePorts
from fleet_control.flows.reconcile import Result, reconcile
from fleet_control.flows.spot_interruption import respond
from fleet_control.messages.parse import parse_spot
from fleet_control.messages.tasks import InterruptionTask

from .fakes import NOW, Stage, ago, group_name, ports_of, refused

EVENTS = Path(__file__).parents[2] / "events"
GROUP = group_name("image-to-video")
ME = "i-0a1b2c3d4e5f60718"
SAMPLES = {"interruption": "warning", "terminating": "terminate_action"}


class World:
    """One instance of a fleet. `executions` are the machines under way, by kind."""

    def __init__(self, **worker: Any) -> None:
        self.stage = Stage()
        self.stage.fleet(desired=1)
        self.stage.instance(ME, **worker)
        self.machines: dict[str, dict[str, Any]] = {}

    def deliver(self, kind: str, **detail: Any) -> str:
        event = json.loads((EVENTS / f"spot_interruption_{SAMPLES[kind]}.json").read_text())
        event["detail"] |= detail
        message = parse_spot(event)
        assert not isinstance(message, InterruptionTask)
        answer = receive(ports_of(self.stage, Ports), message)
        if answer["outcome"] == "started":
            self.machines[kind] = dict(self.stage.executions[f"{ME}-{kind}"])
        return str(answer["outcome"])

    def look(self, kind: str) -> str:
        """The machine's next look; it ends with `done`."""
        task = parse_spot({"step": "respond"} | self.machines[kind])
        assert isinstance(task, InterruptionTask)
        answer = respond(ports_of(self.stage, Ports), task)
        self.machines[kind] = {"notice": answer["notice"]}
        return str(answer["next"])

    def tick(self) -> Result:
        return reconcile(ports_of(self.stage, ReconcilePorts, worker_limit=50), "Tick")

    def waits(self) -> None:
        """The group wants the instance gone, and waits for its hook."""
        self._becomes("Terminating:Wait")

    def _becomes(self, lifecycle: str) -> None:
        self.stage.groups[GROUP] = replace(self.stage.groups[GROUP], instances=(GroupInstance(ME, lifecycle),))

    @property
    def lifecycle(self) -> str:
        return self.stage.groups[GROUP].instances[0].lifecycle

    def after(self, seconds: float, *, polls: bool = True) -> None:
        """So many seconds after the beginning; the worker has polled meanwhile, unless it does not."""
        self.stage.now = NOW + timedelta(seconds=seconds)
        if polls and ME in self.stage.workers:
            self.stage.workers[ME]["last_seen_at"] = self.stage.now

    def statuses(self) -> list[str]:
        return [row["status"] for row in self.stage.dispatches.values()]

    def ends(self, dispatch: int) -> None:
        self.stage.dispatches[dispatch]["status"] = "completed"

    def drain(self) -> dict[str, Any]:
        found: dict[str, Any] = self.stage.audit[-1]["metadata"]
        return found

    def knows(self, dispatch: int, *, ran: float, durations: list[float]) -> None:
        self.stage.leased_at[dispatch] = ago(ran)
        self.stage.durations["image-to-video"] = durations


@pytest.fixture
def world() -> World:
    return World()


# Let it finish.


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


# The hook.


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
    world.deliver("terminating")
    assert world.look("terminating") == "done"
    assert world.stage.made("let_go") == [(GROUP, ME)]


def test_an_instance_that_never_registered_is_let_go_at_once(world: World) -> None:
    world.waits()
    world.stage.workers.clear()
    world.deliver("terminating")
    assert world.look("terminating") == "done"
    assert world.lifecycle == "Terminating:Proceed"


def test_another_hook_of_the_group_is_somebody_elses(world: World) -> None:
    world.waits()
    assert world.deliver("terminating", LifecycleHookName="ship-logs") == "ignored"
    assert not world.stage.executions


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
    assert world.look("interruption") == "wait"
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
