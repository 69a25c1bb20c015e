"""ami_rollout: every way a rollout can end; a failed execution means that its image was given up, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from fleet_control.errors import DatabaseBusy, DatabaseUnavailable

from lab.cloud.functions import ThrottledError

from .conftest import LOST_CALLS, Machines, Run, lost

ROLLOUT: dict[str, Any] = {"group": "asg-staging-a", "version": 2, "looks": 0, "look_seconds": 15, "error_seconds": 300}


def run(machines: Machines, *answers: Any, name: str = "execution") -> Run:
    """Each look gives its answer in turn; an exception is raised, a word is the next of `next`."""
    left: Iterable[Any] = iter(answers)

    def answer(event: dict[str, Any]) -> dict[str, Any]:
        found = next(left)  # type: ignore[call-overload]
        if isinstance(found, Exception):
            raise found
        return {"rollout": event["rollout"] | {"looks": event["rollout"]["looks"] + 1}, "next": found, "reason": "why"}

    return machines.run("ami_rollout.asl.json", {"AmiRolloutFunction": answer}, {"rollout": ROLLOUT}, name)


def test_it_looks_again_until_the_fleet_runs_the_image(machines: Machines) -> None:
    found = run(machines, "wait", "wait", "done", name="asg-staging-a-v2-0")
    assert (found.status, found.states[-1]) == ("SUCCEEDED", "Done")
    assert found.states.count("WaitForFleet") == 2
    assert [event["rollout"]["looks"] for _, event in found.calls] == [0, 1, 2]
    assert {(event["step"], event["execution"]) for _, event in found.calls} == {("look", "asg-staging-a-v2-0")}


def test_an_image_that_does_not_register_is_a_failure_with_its_cause(machines: Machines) -> None:
    found = run(machines, "wait", "stop")
    assert (found.status, found.error, found.cause) == ("FAILED", "RolloutStopped", "why")


@pytest.mark.parametrize(
    "error", [DatabaseBusy("deadlock"), ThrottledError("ami-rollout")], ids=lambda e: type(e).__name__
)
def test_what_passes_is_tried_again_at_once(machines: Machines, error: Exception) -> None:
    found = run(machines, error, error, "done")
    assert (found.status, found.states) == ("SUCCEEDED", ["Look", "Verdict", "Done"])


@pytest.mark.parametrize("error", LOST_CALLS)
def test_a_look_that_was_cut_off_is_tried_again(machines: Machines, error: str) -> None:
    assert run(machines, lost(error), "done").status == "SUCCEEDED"


@pytest.mark.parametrize(
    "errors",
    [[ValueError("a defect")], [DatabaseUnavailable("away")], [DatabaseBusy("deadlock")] * 7],
    ids=["a defect", "an error that is not retried", "longer than the retries"],
)
def test_a_look_that_fails_gives_up_nothing(machines: Machines, errors: list[Exception]) -> None:
    found = run(machines, *errors, "wait", "done")
    assert (found.status, found.states[-1]) == ("SUCCEEDED", "Done")
    assert found.states.count("WaitAfterError") == 1
    assert [event["rollout"]["looks"] for _, event in found.calls][-2:] == [0, 1], "the input is as before the error"
