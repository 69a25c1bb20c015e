"""Logs tie an invocation to its cause, failures are counted, and nothing secret is written."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fleet_control.errors import DatabaseUnavailable
from fleet_control.telemetry import Telemetry, correlation_id

EVENTS = Path(__file__).parents[2] / "events"
CONTEXT = SimpleNamespace(
    function_name="bp-staging-test",
    memory_limit_in_mb=256,
    invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:bp-staging-test",
    aws_request_id="request-1",
)


@pytest.fixture
def telemetry(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Telemetry:
    """A service of its own for each test: loggers outlive a test, the captured output does not."""
    monkeypatch.setenv("STAGE", "staging")
    return Telemetry(request.node.name)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("name", "event", "expected"),
    [
        ("EventBridge", {"id": "event-1", "source": "aws.ec2"}, "event-1"),
        ("SNS", {"Records": [{"Sns": {"MessageId": "message-1"}}]}, "message-1"),
        ("CloudFormation", {"RequestId": "request-1"}, "request-1"),
        ("Step Functions", {"step": "look", "execution": "drain-1"}, "drain-1"),
        ("a schedule's constant input", {"period_seconds": 60}, None),
        ("records of another kind", {"Records": [{"body": "x"}]}, None),
        ("no records", {"Records": []}, None),
        ("not even an object", "text", None),
    ],
)
def test_the_cause_of_an_invocation_is_its_correlation_id(name: str, event: Any, expected: str | None) -> None:
    assert correlation_id(event) == expected, name


def test_a_decision_is_one_structured_record(telemetry: Telemetry, capsys: pytest.CaptureFixture[str]) -> None:
    @telemetry.handler
    def handler(event: dict[str, Any], context: Any) -> str:
        telemetry.decision(fleet="asg-staging-face-swap", rule="nothing to do", desired=0)
        return "done"

    assert handler({"id": "event-1"}, CONTEXT) == "done"
    record = next(line for line in lines(capsys) if line["message"] == "decision")
    expected = {
        "service": "test_a_decision_is_one_structured_record",
        "correlation_id": "event-1",
        "function_request_id": "request-1",
        "fleet": "asg-staging-face-swap",
        "rule": "nothing to do",
        "desired": 0,
    }
    assert expected.items() <= record.items()


def test_health_metrics_are_sent_with_stage_and_service(
    telemetry: Telemetry, capsys: pytest.CaptureFixture[str]
) -> None:
    @telemetry.handler
    def handler(event: dict[str, Any], context: Any) -> None:
        telemetry.count("Decisions", 3)

    handler({}, CONTEXT)
    (emf,) = [line for line in lines(capsys) if "_aws" in line]
    metrics = emf["_aws"]["CloudWatchMetrics"][0]
    assert metrics["Namespace"] == "FleetControl"
    assert sorted(metrics["Dimensions"][0]) == ["Stage", "service"]
    assert (emf["Stage"], emf["Decisions"]) == ("staging", [3.0])


def test_an_invocation_without_metrics_sends_none(telemetry: Telemetry, capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.handler(lambda event, context: None)({}, CONTEXT)
    assert lines(capsys) == []


def test_a_failure_is_logged_counted_and_still_a_failure(
    telemetry: Telemetry, capsys: pytest.CaptureFixture[str]
) -> None:
    @telemetry.handler
    def handler(event: dict[str, Any], context: Any) -> None:
        raise DatabaseUnavailable("the host cannot be reached")

    with pytest.raises(DatabaseUnavailable):
        handler({"id": "event-1"}, CONTEXT)
    written = lines(capsys)
    assert [line["reason"] for line in written if line.get("message") == "failed"] == ["database unavailable"]
    assert [line["Failed"] for line in written if "_aws" in line] == [[1.0]]


def test_one_invocations_correlation_does_not_leak_into_the_next(
    telemetry: Telemetry, capsys: pytest.CaptureFixture[str]
) -> None:
    @telemetry.handler
    def handler(event: dict[str, Any], context: Any) -> None:
        telemetry.decision()

    handler({"id": "event-1"}, CONTEXT)
    handler({"period_seconds": 60}, CONTEXT)
    assert [line.get("correlation_id") for line in lines(capsys)] == ["event-1", None]


def test_an_event_with_a_signed_url_is_not_logged(telemetry: Telemetry, capsys: pytest.CaptureFixture[str]) -> None:
    event = json.loads((EVENTS / "tenant_pool_init_create.json").read_text())

    @telemetry.handler
    def handler(event: dict[str, Any], context: Any) -> None:
        telemetry.decision(rule="tenant_pools")

    handler(event, CONTEXT)
    written = capsys.readouterr().out
    assert event["RequestId"] in written
    assert "X-Amz-Signature" not in written


def test_a_field_named_like_one_of_loggings_own_does_not_stop_the_work(
    telemetry: Telemetry, capsys: pytest.CaptureFixture[str]
) -> None:
    @telemetry.handler
    def handler(event: dict[str, Any], context: Any) -> None:
        telemetry.decision(created=True, name="x", message="m")
        telemetry.failure(DatabaseUnavailable("away"), module="y")

    handler({}, CONTEXT)
    decision, failure = [line for line in lines(capsys) if "_aws" not in line]
    assert (decision["message"], decision["created_"], decision["name_"]) == ("decision", True, "x")
    assert (failure["message"], failure["module_"]) == ("change failed", "y")


def test_a_gauge_has_dimensions_of_its_own_beside_the_stage(
    telemetry: Telemetry, capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry.gauge("CapacityBlockedSeconds", "Seconds", 42, WorkflowSlug="face-swap")
    telemetry.gauge("LaunchBreakerOpen", "Count", 1, WorkflowSlug="image-to-video")
    blocked, breaker = lines(capsys)
    directive = blocked["_aws"]["CloudWatchMetrics"][0]
    assert (directive["Namespace"], [sorted(names) for names in directive["Dimensions"]]) == (
        "FleetControl",
        [["Stage", "WorkflowSlug"]],
    )
    assert (blocked["Stage"], blocked["WorkflowSlug"], blocked["CapacityBlockedSeconds"]) == (
        "staging",
        "face-swap",
        [42],
    )
    assert breaker["WorkflowSlug"] == "image-to-video"
