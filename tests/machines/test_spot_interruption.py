"""spot_interruption: looks until nothing can slip in; a notice that cannot be answered is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import pytest
from fleet_control.errors import DatabaseBusy, DatabaseUnavailable, SchemaNotMigrated

from .conftest import LOST_CALLS, Machines, Run, lost

NOTICE: dict[str, Any] = {
    "instance_id": "i-1",
    "kind": "interruption",
    "looks": 0,
    "max_looks": 25,
    "look_seconds": 5,
}


def handler(answers: Iterable[Any]) -> Callable[[Any], Any]:
    left = iter(answers)

    def answer(event: dict[str, Any]) -> dict[str, Any]:
        found = next(left)
        if isinstance(found, Exception):
            raise found
        return {"notice": event["notice"] | {"looks": event["notice"]["looks"] + 1}, "next": found, "requeued": 0}

    return answer


def run(machines: Machines, *answers: Any) -> Run:
    handlers = {"SpotInterruptionFunction": handler(answers)}
    return machines.run("spot_interruption.asl.json", handlers, {"notice": NOTICE}, "i-1-interruption")


def test_it_looks_again_until_nothing_can_slip_in(machines: Machines) -> None:
    found = run(machines, "wait", "wait", "done")
    assert (found.status, found.states[-1]) == ("SUCCEEDED", "Done")
    assert [event["notice"]["looks"] for _, event in found.calls] == [0, 1, 2]
    assert {(event["step"], event["execution"]) for _, event in found.calls} == {("respond", "i-1-interruption")}
    assert found.states.count("WaitForJobs") == 2
    assert len({datetime.fromisoformat(event["started"]) for _, event in found.calls}) == 1, (
        "of the execution, not the look"
    )


def test_one_look_at_what_is_gone_is_enough(machines: Machines) -> None:
    found = run(machines, "done")
    assert (found.status, found.states) == ("SUCCEEDED", ["Respond", "Again", "Done"])


@pytest.mark.parametrize("error", [DatabaseUnavailable("away"), DatabaseBusy("deadlock")], ids=["away", "busy"])
def test_a_database_that_comes_back_is_waited_for(machines: Machines, error: Exception) -> None:
    found = run(machines, *[error] * 5, "done")
    assert found.status == "SUCCEEDED"
    assert len(found.calls) == 6


@pytest.mark.parametrize("error", LOST_CALLS)
def test_a_look_that_was_cut_off_is_tried_again(machines: Machines, error: str) -> None:
    found = run(machines, lost(error), "wait", lost(error), "done")
    assert found.status == "SUCCEEDED"
    assert len(found.calls) == 4


@pytest.mark.parametrize(
    ("answers", "calls"),
    [
        pytest.param([SchemaNotMigrated("no table")], 1, id="nothing that passes: at once"),
        pytest.param([DatabaseUnavailable("away")] * 21, 21, id="a database that stays away: after the retries"),
        pytest.param(["wait", ValueError("a defect")], 2, id="a later look"),
    ],
)
def test_a_notice_that_cannot_be_answered_is_seen(machines: Machines, answers: list[Any], calls: int) -> None:
    found = run(machines, *answers)
    assert (found.status, found.error, found.states[-1]) == ("FAILED", "SpotInterruptionFailed", "Failed")
    assert len(found.calls) == calls
    assert "reconcile requeues" in (found.cause or "")
