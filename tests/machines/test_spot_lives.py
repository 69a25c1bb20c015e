"""spot_interruption as deployed, with its function's own flow: each notice to its end, a look's time apart."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fleet_control.act.asg import GroupInstance
from fleet_control.errors import DatabaseUnavailable
from fleet_control.flows.reconcile import Ports as ReconcilePorts
from fleet_control.flows.reconcile import reconcile
from fleet_control.flows.spot import Ports
from fleet_control.flows.spot_interruption import respond
from fleet_control.messages.spot import parse_spot
from fleet_control.messages.tasks import InterruptionTask

from tests.flows.fakes import NOW, Stage, ago, group_name, ports_of, refused

from .conftest import Machines, Run

ME = "i-0a1b2c3d4e5f60718"
GROUP = group_name("image-to-video")
NOTICE: dict[str, Any] = {"instance_id": ME, "looks": 0, "max_looks": 25, "look_seconds": 5, "group": GROUP}


class Life:
    """One warned or unwanted instance, whose worker polls unless it is `silent`. The clock moves by what each look asks
    its machine to wait; what is in `ends`, `leased` and `failing` happens at its second."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.stage.fleet(desired=1)
        self.stage.instance(ME)
        self.stage.groups[GROUP] = replace(self.stage.groups[GROUP], instances=(GroupInstance(ME, "Terminating:Wait"),))
        self.seconds = 0
        self.silent = False
        self.ends: dict[int, int] = {}
        self.leased: list[int] = []
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
        if answer["next"] == "wait":
            assert isinstance(answer["notice"], dict)
            self.seconds += answer["notice"]["look_seconds"]
        return answer

    def _move(self) -> None:
        self.stage.now = NOW + timedelta(seconds=self.seconds)
        if ME in self.stage.workers and not self.silent:
            self.stage.workers[ME]["last_seen_at"] = self.stage.now
        while self.leased and self.seconds >= self.leased[0]:
            self.leased.pop(0)
            self.stage.lease(ME, seconds_left=99_999)
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


def looks(found: Run) -> list[int]:
    """Seconds between its looks."""
    return [event["notice"]["look_seconds"] for _, event in found.calls[1:]]


FINISH_BY = (NOW + timedelta(seconds=105)).isoformat()


def test_a_warned_job_that_ends_in_time_is_left_alone(machines: Machines, life: Life) -> None:
    life.job(ends_at=50)
    found = life.run(machines, "interruption", finish_by=FINISH_BY)
    assert (found.status, found.states[-1], life.status) == ("SUCCEEDED", "Done", "completed")
    assert looks(found) == [60]


def test_a_warned_job_that_does_not_is_given_back_15_s_before_the_end(machines: Machines, life: Life) -> None:
    life.job()
    found = life.run(machines, "interruption", finish_by=FINISH_BY)
    assert (found.status, life.status, life.seconds) == ("SUCCEEDED", "queued", 105)
    assert looks(found) == [60, 45]


def test_a_job_that_slips_in_beside_one_that_may_finish_comes_back_alone(machines: Machines, life: Life) -> None:
    life.job(ends_at=100)
    life.leased = [33]
    found = life.run(machines, "interruption", finish_by=FINISH_BY)
    assert found.status == "SUCCEEDED"
    assert [row["status"] for row in life.stage.dispatches.values()] == ["completed", "queued"]
    assert [call[0] for call in life.stage.made("requeue")] == [2]


def test_a_warned_worker_that_polls_on_and_is_refused_needs_three_looks(machines: Machines, life: Life) -> None:
    found = life.run(machines, "interruption", finish_by=FINISH_BY)
    assert (found.status, looks(found), life.seconds) == ("SUCCEEDED", [5, 5], 10)


@pytest.mark.parametrize("second", [1, 12, 33, 50])
def test_a_job_leased_by_a_poll_under_way_at_the_warning_comes_back(
    machines: Machines, life: Life, second: int
) -> None:
    """Such a poll waits up to 50 s for its row; the worker is not heard of meanwhile."""
    life.silent, life.leased = True, [second]
    found = life.run(machines, "interruption", finish_by=FINISH_BY)
    assert (found.status, life.status, life.seconds) == ("SUCCEEDED", "queued", 60)


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
    assert life.seconds == 60
    assert len(life.stage.made("keep_waiting")) == 4


def test_an_hours_job_keeps_its_group_waiting_by_heartbeats_20_s_apart(machines: Machines, life: Life) -> None:
    """The hook's time-out is 150 s; many looks would cost more than they tell."""
    life.job()
    found = life.run(machines, "terminating", job_timeout_seconds=600)
    assert (found.status, life.status, life.seconds) == ("SUCCEEDED", "queued", 585)
    assert set(looks(found)) == {5, 10, 20}


def test_an_interruption_has_both_machines_and_the_job_its_time(machines: Machines, life: Life) -> None:
    life.job()
    life.run(machines, "interruption", finish_by=FINISH_BY, max_looks=1)
    found = life.run(machines, "terminating")
    assert (found.status, life.status, life.lifecycle) == ("SUCCEEDED", "queued", "Terminating:Proceed")
    assert life.seconds == 105
    assert len(found.calls) == 2
    assert not life.stage.made("keep_waiting")


@pytest.mark.parametrize(("kind", "left"), [("shutting-down", True), ("terminated", False)])
def test_what_is_gone_gives_back_its_job(machines: Machines, life: Life, kind: str, left: bool) -> None:
    life.job()
    found = life.run(machines, kind)
    assert (found.status, found.states, life.status) == ("SUCCEEDED", ["Respond", "Again", "Done"], "queued")
    assert (ME in life.stage.workers) is left


class ClientError(Exception):
    """As the SDK's error arrives from a function: by its class name."""


class ResourceContentionFault(Exception):  # noqa: N818 - the SDK's name of it
    """What the API names itself has a class of its own."""


@pytest.mark.parametrize(
    "error",
    [DatabaseUnavailable("away"), ClientError("throttled"), ResourceContentionFault("pending update")],
    ids=["away", "throttled", "contention"],
)
def test_what_passes_does_not_change_the_end(machines: Machines, life: Life, error: Exception) -> None:
    life.job(ends_at=20)
    life.failing = {0: error, 10: error, 25: error}
    found = life.run(machines, "terminating")
    assert (found.status, life.status, life.lifecycle) == ("SUCCEEDED", "completed", "Terminating:Proceed")


@pytest.mark.parametrize(
    ("kind", "second"),
    [("interruption", 0), ("interruption", 60), *(("terminating", second) for second in (0, 5, 10, 60))],
)
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
