"""CloudFormation gets one answer on every path, under a name that never changes."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from fleet_control.act import cloudformation
from fleet_control.errors import BadEvent, DatabaseUnavailable
from fleet_control.flows.custom_resource import Invocation, respond
from fleet_control.messages.cloudformation import CustomResourceRequest, parse_request

from .recorder import FakeRecorder

EVENTS = Path(__file__).parents[2] / "events"
Answers = list[dict[str, Any]]
Respond = Callable[..., Mapping[str, str] | None]


@pytest.fixture
def answers() -> Answers:
    return []


@pytest.fixture
def recorder() -> FakeRecorder:
    return FakeRecorder()


@pytest.fixture
def answered(answers: Answers, recorder: FakeRecorder) -> Respond:
    def call(request: CustomResourceRequest, work: Callable[[], Mapping[str, str]], seconds: float = 60) -> Any:
        invocation = Invocation(seconds, "stream-1", recorder, lambda _, body: answers.append(json.loads(body)))
        return respond(request, invocation, bring_up=work, kept="databases")

    return call


def request(name: str = "tenant_pool_init_create", **changes: Any) -> CustomResourceRequest:
    return parse_request(json.loads((EVENTS / f"{name}.json").read_text()) | changes)


def fail(error: Exception) -> Callable[[], Mapping[str, str]]:
    def work() -> Mapping[str, str]:
        raise error

    return work


def test_success_carries_the_works_data(answered: Respond, answers: Answers) -> None:
    assert answered(request(), lambda: {"PendingGrants": ""}) == {"PendingGrants": ""}
    assert [(a["Status"], a["Data"]) for a in answers] == [("SUCCESS", {"PendingGrants": ""})]


def test_our_own_errors_are_told_in_full_and_answered_not_raised(
    answered: Respond, answers: Answers, recorder: FakeRecorder
) -> None:
    error = DatabaseUnavailable("the host cannot be reached")
    assert answered(request(), fail(error)) is None
    assert [(a["Status"], a["Reason"]) for a in answers] == [
        ("FAILED", "the host cannot be reached (log stream stream-1)")
    ]
    assert recorder.failures == [error]


def test_anybody_elses_error_is_told_by_its_type_only(answered: Respond, answers: Answers) -> None:
    answered(request(), fail(RuntimeError("IDENTIFIED BY 'hunter2'")))
    assert [a["Reason"] for a in answers] == ["RuntimeError (log stream stream-1)"]


def test_an_unknown_request_is_answered_as_failed(answered: Respond, answers: Answers) -> None:
    answered(request(RequestType="Replace"), lambda: pytest.fail("worked"))
    assert [a["Status"] for a in answers] == ["FAILED"]
    assert "Replace" in answers[0]["Reason"]


def test_delete_keeps_everything_and_succeeds_whatever_the_properties(
    answered: Respond, answers: Answers, recorder: FakeRecorder
) -> None:
    answered(request("tenant_pool_init_delete", ResourceProperties={}), lambda: pytest.fail("worked"))
    assert [a["Status"] for a in answers] == ["SUCCESS"]
    assert recorder.decisions == [{"rule": "delete", "reason": "databases stay as they are"}]


def test_the_physical_id_is_the_same_through_the_resources_life(answered: Respond, answers: Answers) -> None:
    for kind in ("create", "update", "delete"):
        answered(request(f"tenant_pool_init_{kind}"), dict)
    answered(request(PhysicalResourceId=answers[0]["PhysicalResourceId"]), fail(RuntimeError()))
    assert {a["PhysicalResourceId"] for a in answers} == {"bp-staging-TenantPools"}


def test_an_id_given_by_cloudformation_is_kept_even_in_failure(answered: Respond, answers: Answers) -> None:
    answered(request(PhysicalResourceId="an-older-name"), fail(RuntimeError()))
    assert [a["PhysicalResourceId"] for a in answers] == ["an-older-name"]


def test_work_that_runs_out_of_time_is_answered_as_failed(
    answered: Respond, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloudformation, "MARGIN_SECONDS", 0.2)

    def slow() -> dict[str, str]:
        time.sleep(0.3)
        return {}

    answered(request(), slow, seconds=0.25)
    assert [a["Status"] for a in answers] == ["FAILED"]
    assert "ran out of time" in answers[0]["Reason"]


def test_by_hand_the_outcome_is_returned(answered: Respond, answers: Answers) -> None:
    assert answered(request(ResponseURL=""), lambda: {"PendingGrants": "bp.workflows"}) == {
        "PendingGrants": "bp.workflows"
    }
    assert answers == []


def test_by_hand_a_failure_is_raised(answered: Respond, answers: Answers) -> None:
    with pytest.raises(BadEvent):
        answered(request(ResponseURL=""), fail(BadEvent("Pools")))
    assert answers == []
