"""scale_in: every way a drain can end, and what each failure leads to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from fleet_control.errors import Blind, DatabaseBusy, DatabaseUnavailable, LockBusy, SchemaNotMigrated

from lab.cloud.functions import ThrottledError

from .conftest import LOST_CALLS, Machines, Run, lost

DRAIN: dict[str, Any] = {"instance_id": "i-1", "drain_id": 7, "look_seconds": 3, "polled_at": None}
Answers = dict[str, Iterable[Any]]


class ClientError(Exception):
    """As the SDK's error arrives from a function: by its class name."""


class ScalingActivityInProgressFault(Exception):  # noqa: N818 - the SDK's name of it
    """What the API names itself has a class of its own."""


def handler(answers: Answers) -> Callable[[Any], Any]:
    """Each step gives its answers in turn; an exception is raised, a word is the next of `next`."""
    left = {step: iter(given) for step, given in answers.items()}

    def answer(event: dict[str, Any]) -> dict[str, Any]:
        found = next(left[event["step"]])
        if isinstance(found, Exception):
            raise found
        drain = event["drain"] | {"polled_at": f"after {event['step']}"}
        return {"drain": drain, "next": found, "reason": f"{event['step']} said {found}"}

    return answer


def run(machines: Machines, answers: Answers | None = None, name: str = "execution", **steps: Iterable[Any]) -> Run:
    handlers = {"ScaleInFunction": handler(steps if answers is None else answers)}
    return machines.run("scale_in.asl.json", handlers, {"drain": DRAIN}, name)


def steps(found: Run) -> list[str]:
    return [event["step"] for _, event in found.calls]


def test_it_waits_until_refused_then_terminates(machines: Machines) -> None:
    found = run(machines, look=["wait", "wait", "terminate"], terminate=["done"])
    assert found.status == "SUCCEEDED"
    assert steps(found) == ["look", "look", "look", "terminate"]
    assert found.states.count("WaitForPoll") == 2
    assert found.states[-1] == "Done"


def test_what_a_look_saw_is_the_next_looks_input(machines: Machines) -> None:
    found = run(machines, name="i-1-7-0", look=["wait", "terminate"], terminate=["done"])
    assert [event["drain"]["polled_at"] for _, event in found.calls] == [None, "after look", "after look"]
    assert {event["execution"] for _, event in found.calls} == {"i-1-7-0"}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        pytest.param({"look": ["done"]}, ["look"], id="the row is gone: nothing more to do"),
        pytest.param(
            {"look": ["release"], "release": ["done"]},
            ["look", "release"],
            id="a job slipped in before the termination",
        ),
        pytest.param(
            {"look": ["terminate"], "terminate": ["release"], "release": ["done"]},
            ["look", "terminate", "release"],
            id="a job slipped in at the last moment",
        ),
        pytest.param(
            {"look": ["terminate", "terminate"], "terminate": ["wait", "done"]},
            ["look", "terminate", "look", "terminate"],
            id="the last look wants another one",
        ),
    ],
)
def test_ends_that_are_no_failure(machines: Machines, answers: Answers, expected: list[str]) -> None:
    found = run(machines, answers)
    assert (found.status, found.states[-1]) == ("SUCCEEDED", "Done")
    assert steps(found) == expected


@pytest.mark.parametrize(
    "error",
    [DatabaseUnavailable("away"), DatabaseBusy("deadlock"), Blind("no answer"), ThrottledError("scale_in")],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("step", ["look", "terminate", "release"])
def test_what_passes_is_tried_again(machines: Machines, step: str, error: Exception) -> None:
    words = {"look": "terminate", "terminate": "release", "release": "done"}
    answers: Answers = {name: [error, error, word] if name == step else [word] for name, word in words.items()}
    found = run(machines, answers)
    assert (found.status, found.states[-1]) == ("SUCCEEDED", "Done")
    calls = steps(found)
    assert calls.count(step) >= (1 if isinstance(error, ThrottledError) else 3)
    assert [name for name in calls if name != step] == [name for name in words if name != step]


@pytest.mark.parametrize(
    "error",
    [ClientError("throttled"), ScalingActivityInProgressFault("one is under way"), LockBusy("another one goes")],
    ids=["refused", "in progress", "not alone"],
)
def test_a_refused_termination_is_tried_again(machines: Machines, error: Exception) -> None:
    found = run(machines, look=["terminate"], terminate=[error, "done"])
    assert steps(found) == ["look", "terminate", "terminate"]
    assert found.status == "SUCCEEDED"


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        pytest.param(
            {"look": [SchemaNotMigrated("no table")], "release": ["done"]},
            ["look", "release"],
            id="a look that cannot be",
        ),
        pytest.param(
            {"look": ["terminate"], "terminate": [ValueError("a defect")], "release": ["done"]},
            ["look", "terminate", "release"],
            id="a termination that cannot be",
        ),
        pytest.param(
            {"look": [DatabaseUnavailable("away")] * 7, "release": ["done"]},
            ["look"] * 7 + ["release"],
            id="a database away for longer than the retries",
        ),
    ],
)
def test_a_failure_lets_the_worker_serve_on_and_is_seen(
    machines: Machines, answers: Answers, expected: list[str]
) -> None:
    found = run(machines, answers)
    assert (found.status, found.error, found.states[-1]) == ("FAILED", "ScaleInFailed", "Failed")
    assert steps(found) == expected
    assert "reconcile" in (found.cause or "")


def test_a_release_that_fails_too_is_a_failure_for_reconcile_to_pick_up(machines: Machines) -> None:
    found = run(machines, look=["release"], release=[ValueError("a defect")])
    assert (found.status, found.error) == ("FAILED", "ScaleInFailed")
    assert steps(found) == ["look", "release"]


def test_a_fraction_of_a_second_to_wait_is_refused_as_on_aws(machines: Machines) -> None:
    given = {"drain": DRAIN | {"look_seconds": 3.0}}
    found = machines.run("scale_in.asl.json", {"ScaleInFunction": handler({"look": ["wait"]})}, given)
    assert (found.status, found.error) == ("FAILED", "States.Runtime")


@pytest.mark.parametrize("error", LOST_CALLS)
def test_a_step_that_was_cut_off_is_tried_again(machines: Machines, error: str) -> None:
    answers = {"look": "terminate", "terminate": "release", "release": "done"}
    found = run(machines, {step: [lost(error), answer] for step, answer in answers.items()})
    assert found.status == "SUCCEEDED"
    assert steps(found) == ["look", "look", "terminate", "terminate", "release", "release"]
