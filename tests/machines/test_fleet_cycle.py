"""fleet_cycle: one minute of ticks, none of which can stop the others."""

from __future__ import annotations

from typing import Any

import pytest

from lab.cloud.functions import ThrottledError

from .conftest import LOST_CALLS, Machines, lost

GIVEN = {"ticks": 3, "tick_seconds": 10, "tick": 0}


def test_a_minute_is_so_many_ticks_with_a_wait_between_them(machines: Machines) -> None:
    run = machines.run("fleet_cycle.asl.json", {"ReconcileFunction": lambda event: {}}, GIVEN)
    assert run.status == "SUCCEEDED"
    assert [event["tick"] for _, event in run.calls] == [0, 1, 2]
    assert run.states.count("WaitForTick") == 2
    assert run.states[-1] == "MinuteOver"


def test_a_tick_that_fails_is_left_to_the_next_one(machines: Machines) -> None:
    def reconcile(event: dict[str, Any]) -> None:
        if event["tick"] == 1:
            raise RuntimeError("the database is away")

    run = machines.run("fleet_cycle.asl.json", {"ReconcileFunction": reconcile}, GIVEN)
    assert run.status == "SUCCEEDED"
    assert [event["tick"] for _, event in run.calls] == [0, 1, 2]


def test_a_throttled_tick_is_tried_again(machines: Machines) -> None:
    refusals = iter([True, False])

    def reconcile(event: dict[str, Any]) -> None:
        if event["tick"] == 0 and next(refusals):
            raise ThrottledError("reconcile")

    run = machines.run("fleet_cycle.asl.json", {"ReconcileFunction": reconcile}, GIVEN)
    assert run.status == "SUCCEEDED"
    assert [event["tick"] for _, event in run.calls] == [0, 0, 1, 2]


def test_a_tick_that_stays_throttled_is_left_to_the_next_one(machines: Machines) -> None:
    def reconcile(event: dict[str, Any]) -> None:
        if event["tick"] == 0:
            raise ThrottledError("reconcile")

    run = machines.run("fleet_cycle.asl.json", {"ReconcileFunction": reconcile}, GIVEN)
    assert run.status == "SUCCEEDED"
    assert [event["tick"] for _, event in run.calls] == [0, 0, 0, 1, 2]


@pytest.mark.parametrize("error", LOST_CALLS)
def test_a_tick_that_was_cut_off_is_tried_again(machines: Machines, error: str) -> None:
    failures = iter([lost(error)])

    def reconcile(event: dict[str, Any]) -> None:
        if event["tick"] == 0 and (failure := next(failures, None)):
            raise failure

    run = machines.run("fleet_cycle.asl.json", {"ReconcileFunction": reconcile}, GIVEN)
    assert run.status == "SUCCEEDED"
    assert [event["tick"] for _, event in run.calls] == [0, 0, 1, 2]


def test_a_minute_without_ticks_ends_after_its_first_look(machines: Machines) -> None:
    run = machines.run("fleet_cycle.asl.json", {"ReconcileFunction": lambda event: {}}, GIVEN | {"ticks": 1})
    assert (run.status, len(run.calls), run.states[-1]) == ("SUCCEEDED", 1, "MinuteOver")
    assert "WaitForTick" not in run.states
