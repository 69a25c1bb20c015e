"""spot_interruption as deployed, with its function's own flow: each notice to its end, a look's time apart."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fleet_control.act.asg import GroupInstance
from fleet_control.errors import DatabaseUnavailable
from fleet_control.flows.notices import Ports
from fleet_control.flows.reconcile import Ports as ReconcilePorts
from fleet_control.flows.reconcile import reconcile
from fleet_control.flows.spot_interruption import respond
from fleet_control.messages.spot import parse_spot
from fleet_control.messages.tasks import InterruptionTask

from tests.flows.fakes import NOW, Stage, ago, group_name, ports_of, refused

from .conftest import Machines, Run

ME = "i-0a1b2c3d4e5f60718"
GROUP = group_name("image-to-video")
NOTICE: dict[str, Any] = {"instance_id": ME, "looks": 0, "max_looks": 25, "look_seconds": 5, "group": GROUP}


class Life:
    """One warned or unwanted instance. The clock moves a look's wait with every look; `at` happens at its second."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.stage.fleet(desired=1)
        self.stage.instance(ME)
        self.stage.groups[GROUP] = replace(self.stage.groups[GROUP], instances=(GroupInstance(ME, "Terminating:Wait"),))
        self.seconds = 0
        self.ends: dict[int, int] = {}
        self.failing: dict[int, Exception] = {}

    def job(self, *, ends_at: int | None = None, expected: float = 60) -> int:
        dispatch = self.stage.lease(ME, seconds_left=99_999)
        self.stage.leased_at[dispatch] = ago(0)
        self.stage.durations["image-to-video"] = [expected] * 9
        if ends_at is not None:
            self.ends[dispatch] = ends_at
        return dispatch

    def respond(self, event: dict[str, Any]) -> dict[str, object]:
        self._move()
        if self.seconds in self.failing:
            raise self.failing.pop(self.seconds)
        task = parse_spot(event)
        assert isinstance(task, InterruptionTask)
        answer = respond(ports_of(self.stage, Ports), task)
        self.seconds += task.notice.look_seconds
        return answer

    def _move(self) -> None:
        self.stage.now = NOW + timedelta(seconds=self.seconds)
        if ME in self.stage.workers:
            self.stage.workers[ME]["last_seen_at"] = self.stage.now
        for dispatch, at in self.ends.items():
            if self.seconds >= at and self.stage.dispatches[dispatch]["status"] == "leased":
                self.stage.dispatches[dispatch]["status"] = "completed"

    def tick(self) -> None:
        self._move()
        reconcile(ports_of(self.stage, ReconcilePorts, worker_limit=50), "Tick")

    def run(self, machines: Machines, kind: str, **notice: Any) -> Run:
        given = {"notice": NOTICE | {"kind": kind} | notice}
        handlers = {"SpotInterruptionFunction": self.respond}
        return machines.run("spot_interruption.asl.json", handlers, given, f"{ME}-{kind}")

    @property
    def status(self) -> str:
        return str(self.stage.dispatches[1]["status"])

    @property
    def lifecycle(self) -> str:
        return self.stage.groups[GROUP].instances[0].lifecycle


@pytest.fixture
def life() -> Life:
    return Life()


FINISH_BY = (NOW + timedelta(seconds=105)).isoformat()


def test_a_warned_job_that_ends_in_time_is_left_alone(machines: Machines, life: Life) -> None:
    life.job(ends_at=50)
    found = life.run(machines, "interruption", finish_by=FINISH_BY)
    assert (found.status, found.states[-1], life.status) == ("SUCCEEDED", "Done", "completed")
    assert len(found.calls) == 25


def test_a_warned_job_that_does_not_is_given_back_15_s_before_the_end(machines: Machines, life: Life) -> None:
    life.job()
    found = life.run(machines, "interruption", finish_by=FINISH_BY, max_looks=21)
    assert (found.status, life.status) == ("SUCCEEDED", "leased")
    found = life.run(machines, "interruption", finish_by=FINISH_BY, looks=21, max_looks=22)
    assert (found.status, life.status) == ("SUCCEEDED", "queued")


def test_a_warned_job_that_cannot_end_in_time_is_given_back_at_once(machines: Machines, life: Life) -> None:
    life.job(expected=600)
    found = life.run(machines, "interruption", finish_by=FINISH_BY, max_looks=1)
    assert (found.states, life.status) == (["Respond", "Again", "Done"], "queued")


@pytest.mark.parametrize("ends_at", [0, 12, 47])
def test_a_waiting_group_is_answered_when_the_job_has_ended(machines: Machines, life: Life, ends_at: int) -> None:
    life.job(ends_at=ends_at)
    found = life.run(machines, "terminating")
    assert (found.status, found.states[-1], life.status) == ("SUCCEEDED", "Done", "completed")
    assert life.lifecycle == "Terminating:Proceed"
    assert ends_at <= life.seconds <= ends_at + 20


def test_a_job_without_end_is_given_back_and_the_group_answered(machines: Machines, life: Life) -> None:
    life.job()
    found = life.run(machines, "terminating", job_timeout_seconds=75)
    assert (found.status, life.status, life.lifecycle) == ("SUCCEEDED", "queued", "Terminating:Proceed")
    assert life.seconds - 5 == 60
    assert len(life.stage.made("keep_waiting")) == 11


def test_an_interruption_has_both_machines_and_the_job_its_time(machines: Machines, life: Life) -> None:
    life.job()
    life.run(machines, "interruption", finish_by=FINISH_BY, max_looks=1)
    found = life.run(machines, "terminating")
    assert (found.status, life.status, life.lifecycle) == ("SUCCEEDED", "queued", "Terminating:Proceed")
    assert life.seconds - 5 == 105
    assert not life.stage.made("keep_waiting")


@pytest.mark.parametrize(("kind", "left"), [("shutting-down", True), ("terminated", False)])
def test_what_is_gone_gives_back_its_job(machines: Machines, life: Life, kind: str, left: bool) -> None:
    life.job()
    found = life.run(machines, kind)
    assert (found.status, found.states, life.status) == ("SUCCEEDED", ["Respond", "Again", "Done"], "queued")
    assert (ME in life.stage.workers) is left


class ClientError(Exception):
    """As the SDK's error arrives from a function: by its class name."""


@pytest.mark.parametrize("error", [DatabaseUnavailable("away"), ClientError("throttled")], ids=["away", "throttled"])
def test_what_passes_does_not_change_the_end(machines: Machines, life: Life, error: Exception) -> None:
    life.job(ends_at=20)
    life.failing = {0: error, 10: error, 25: error}
    found = life.run(machines, "terminating")
    assert (found.status, life.status, life.lifecycle) == ("SUCCEEDED", "completed", "Terminating:Proceed")


@pytest.mark.parametrize("second", [0, 5, 10, 60])
@pytest.mark.parametrize("kind", ["interruption", "terminating"])
def test_a_machine_that_dies_at_any_look_is_made_good_within_90_s(
    machines: Machines, life: Life, kind: str, second: int
) -> None:
    """Whatever it had done by then; a job that ends is not taken back, the group is answered."""
    life.job(ends_at=70)
    life.failing = {second: ValueError("a defect")}
    notice = {"finish_by": FINISH_BY} if kind == "interruption" else {}
    found = life.run(machines, kind, **notice)
    assert (found.status, found.error, found.states[-1]) == ("FAILED", "SpotInterruptionFailed", "Failed")
    died = life.seconds
    while life.lifecycle == "Terminating:Wait":
        life.tick()
        life.seconds += 10
        assert life.seconds <= max(died, 70) + 90
    assert life.status == "completed"
    assert not life.stage.made("requeue")


def test_an_answer_that_is_refused_is_a_failure_to_be_seen(machines: Machines, life: Life) -> None:
    life.stage.workers.clear()
    life.stage.broken["let_go"] = refused("CompleteLifecycleAction")
    found = life.run(machines, "terminating")
    assert (found.status, found.error) == ("FAILED", "SpotInterruptionFailed")
    assert "answers its hook" in (found.cause or "")
    assert len(found.calls) == 21
