"""Bad events, delivered as AWS does to the real handlers: kept with their reason, or counted and left alone."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab.waiting import until

from .places import MARK, Letters, Stage

EVENTS = Path(__file__).parents[2] / "events"
NOBODY = "i-0123456789abcdef0"
LAUNCHED = "EC2 Instance Launch Successful"
Deliver = Callable[[Stage], None]


def alarm(sample: str, **changes: Any) -> str:
    """The sample's alarm body as CloudWatch publishes it; a change to None leaves the key out."""
    record = json.loads((EVENTS / f"{sample}.json").read_text())["Records"][0]
    body = json.loads(record["Sns"]["Message"]) | changes
    return json.dumps({key: value for key, value in body.items() if value is not None})


def of_nobody(sample: str, **changes: Any) -> str:
    trigger = {"MetricName": "QueueDepth", "Dimensions": [{"name": "WorkflowSlug", "value": "nobodys"}]}
    return alarm(sample, Trigger=trigger, **changes)


def told(source: str, detail_type: str, **detail: Any) -> Deliver:
    return lambda stage: stage.world.put_event(source, detail_type, {"mark": MARK} | detail)


def group_event(**detail: Any) -> Deliver:
    return told("aws.autoscaling", LAUNCHED, **{"AutoScalingGroupName": "asg-staging-face-swap"} | detail)


def state_change(**detail: Any) -> Deliver:
    return told("aws.ec2", "EC2 Instance State-change Notification", state="terminated", **detail)


def published(topic: str, message: str) -> Deliver:
    return lambda stage: stage.publish(topic, message)


def sent(function: str, event: Any) -> Deliver:
    return lambda stage: stage.send(function, event)


CREATE = {"RequestType": "Create", "ResponseURL": f"ftp://somewhere/{MARK}", "mark": MARK}
WARNING = "EC2 Spot Instance Interruption Warning"
# Events of reconcile and publish-metrics may be a minute old: that is when Lambda would try them again, too late.
MALFORMED: list[tuple[str, str, Deliver, int, str]] = [
    ("a group's instance is a number", "reconcile", group_event(EC2InstanceId=7), 1, "detail.EC2InstanceId: "),
    ("no alarm", "reconcile", published("queue-has-jobs", MARK), 1, "Sns.Message: Invalid JSON"),
    ("a schedule without a period", "publish-metrics", sent("publish-metrics", {"period_seconds": MARK}), 1, "period"),
    ("a schedule that is a list", "publish-metrics", sent("publish-metrics", [MARK]), 1, "valid dictionary"),
    ("no alarm", "scale-to-zero", published("scale-to-zero", MARK), 3, "Sns.Message: Invalid JSON"),
    ("a huge message", "scale-to-zero", published("scale-to-zero", MARK * 12_000), 3, "Sns.Message: Invalid JSON"),
    (
        "an alarm without its trigger",
        "scale-to-zero",
        published("scale-to-zero", alarm("scale_to_zero_queue_empty", Trigger=None, mark=MARK)),
        3,
        "Sns.Message.Trigger: Field required",
    ),
    (
        "records of another service",
        "scale-to-zero",
        sent("scale-to-zero", {"Records": [{"EventSource": "aws:sqs", "body": MARK}]}),
        3,
        "Records.0.EventSource: ",
    ),
    (
        "an instance id that is a number",
        "spot-interruption",
        told("aws.ec2", WARNING, **{"instance-id": 12345, "instance-action": "terminate"}),
        3,
        "InterruptionWarning.detail.instance-id: Input should be a valid string",
    ),
    ("no instance id", "spot-interruption", state_change(), 3, "detail.instance-id: Field required"),
    ("a request that is a list", "tenant-pool-init", sent("tenant-pool-init", [MARK]), 3, "valid dictionary"),
    ("an address that is none", "tenant-pool-init", sent("tenant-pool-init", CREATE), 3, "not a web address"),
    ("a request that is a text", "fleet-secret-init", sent("fleet-secret-init", MARK), 3, "valid dictionary"),
    ("an address that is none", "fleet-secret-init", sent("fleet-secret-init", CREATE), 3, "not a web address"),
]


@pytest.mark.parametrize(
    ("function", "deliver", "attempts", "reason"), [c[1:] for c in MALFORMED], ids=[f"{c[1]}-{c[0]}" for c in MALFORMED]
)
def test_what_cannot_be_parsed_is_kept_with_its_reason_and_is_in_no_log(  # noqa: PLR0917 - one row of the table
    stage: Stage, letters: Letters, function: str, deliver: Deliver, attempts: int, reason: str
) -> None:
    before = stage.rows(), stage.desired()
    deliver(stage)
    [letter] = letters.wait()
    assert letter["requestContext"]["functionArn"].endswith(f":bp-staging-{function}:$LATEST")
    assert letter["requestContext"]["approximateInvokeCount"] == attempts
    assert MARK in json.dumps(letter["requestPayload"])
    error = letter["responsePayload"]
    assert error["errorType"] == "BadEvent"
    assert reason in error["errorMessage"]
    assert len(error["errorMessage"]) < 500
    assert (stage.rows(), stage.desired(), stage.written()) == (*before, [])
    assert MARK not in stage.all_text()
    assert "bad_event" in stage.text(function) or "answer" in stage.text(function)


def test_a_malformed_event_delivered_twice_is_kept_twice(stage: Stage, letters: Letters) -> None:
    for _ in range(2):
        stage.publish("scale-to-zero", MARK)
    first, second = letters.wait(2)
    assert first["requestContext"]["requestId"] != second["requestContext"]["requestId"]


def test_a_nudge_that_cannot_be_read_is_kept_with_its_reason_and_spoils_no_other(
    stage: Stage, letters: Letters, undelivered: Letters
) -> None:
    before = stage.rows()
    told("bp.backend", "JobQueued", workflow_slug=7)(stage)
    told("bp.backend", "JobQueued", workflow_slug="face-swap")(stage)
    [letter] = letters.wait()
    stage.answered_batches(2)
    assert letter["requestContext"]["functionArn"].endswith(":bp-staging-reconcile")
    assert json.loads(letter["requestPayload"])["detail"] == {"mark": MARK, "workflow_slug": 7}
    assert letter["responsePayload"]["errorType"] == "BadEvent"
    assert letter["responsePayload"]["errorMessage"].startswith("detail.workflow_slug: ")
    until(lambda: stage.counted("reconcile", "ReconcileHeartbeat") == 1)
    [refusal] = [line for line in stage.lines("reconcile") if line.get("message") == "refused"]
    assert refusal["reason"] == "bad_event"
    assert (stage.rows(), stage.counted("reconcile", "Failed")) == (before, 1)
    assert MARK not in stage.all_text()


def test_a_burst_of_nudges_is_a_few_looks_and_leaves_the_ticks_alone(
    stage: Stage, letters: Letters, undelivered: Letters
) -> None:
    """Delivered one by one they would take all of reconcile's concurrency, be throttled, age and become an alarm."""
    count = 200
    for _ in range(count):
        told("bp.backend", "JobQueued", workflow_slug="face-swap")(stage)
    for tick in range(3):
        assert stage.world.invoke("reconcile", {"step": "tick", "tick": tick})["outcome"] in {"acted", "busy"}
    assert len(stage.answered_batches(count, besides=3)) <= count / 5 + 3
    assert stage.happened("dead_letter") == []


def test_a_nudge_for_another_stage_wakes_nobody(stage: Stage) -> None:
    told("bp.backend", "JobQueued", workflow_slug="face-swap", stage="production")(stage)
    told("bp.backend", "JobQueued", workflow_slug="face-swap", stage="staging")(stage)
    stage.answered_batches(1)
    assert [batch["messages"] for batch in stage.happened("batch")] == [1]


@pytest.mark.parametrize("function", ["reconcile", "scale-in", "scale-to-zero", "spot-interruption"])
@pytest.mark.parametrize(
    "event",
    [{"source": "aws.ec2", "detail-type": f"EC2 {MARK}", "detail": {}}, {"step": MARK}],
    ids=["detail-type", "step"],
)
def test_a_kind_of_event_that_nobody_knows_is_counted_and_nothing_is_done(
    stage: Stage, letters: Letters, function: str, event: dict[str, Any]
) -> None:
    before = stage.rows(), stage.desired()
    sent(function, event)(stage)
    [invocation] = stage.answered(function)
    assert invocation["error"] is None
    until(lambda: stage.counted(function, "UnknownEvents") == 1)
    assert [line["reason"] for line in stage.decisions(function, rule="ignore")]
    assert (stage.rows(), stage.desired(), stage.written()) == (*before, [])
    assert MARK not in stage.all_text()


UNKNOWN: list[tuple[str, str, Deliver, str]] = [
    ("group", "reconcile", group_event(AutoScalingGroupName="asg-staging-nobodys"), "UnknownGroups"),
    ("workflow", "reconcile", told("bp.backend", "JobQueued", workflow_slug="nobodys"), "UnknownWorkflows"),
    ("alarm", "reconcile", published("queue-has-jobs", of_nobody("reconcile_queue_has_jobs")), "UnknownAlarms"),
    ("alarm", "scale-to-zero", published("scale-to-zero", of_nobody("scale_to_zero_queue_empty")), "UnknownAlarms"),
    (
        "alarm without dimensions",
        "scale-to-zero",
        published("scale-to-zero", alarm("scale_to_zero_queue_empty", Trigger={"MetricName": "QueueDepth"})),
        "UnknownAlarms",
    ),
    (
        "alarm without dimensions",
        "reconcile",
        published("queue-has-jobs", alarm("reconcile_queue_has_jobs", Trigger={})),
        "UnknownAlarms",
    ),
    (
        "alarm with a reason of 200 kB",
        "scale-to-zero",
        published("scale-to-zero", of_nobody("scale_to_zero_queue_empty", NewStateReason="x" * 200_000)),
        "UnknownAlarms",
    ),
    (
        "instance warned",
        "spot-interruption",
        told("aws.ec2", WARNING, **{"instance-id": NOBODY, "instance-action": "terminate"}),
        "UnknownInstances",
    ),
    ("instance ended", "spot-interruption", state_change(**{"instance-id": NOBODY}), "UnknownInstances"),
]


@pytest.mark.parametrize(
    ("function", "deliver", "metric"), [c[1:] for c in UNKNOWN], ids=[f"{c[1]}-{c[0]}" for c in UNKNOWN]
)
def test_what_nobody_knows_is_counted_and_nothing_is_done(
    stage: Stage, letters: Letters, function: str, deliver: Deliver, metric: str
) -> None:
    before = stage.rows(), stage.desired()
    deliver(stage)
    [invocation] = stage.answered(function)
    assert invocation["error"] is None
    until(lambda: stage.counted(function, metric) == 1)
    assert (stage.rows(), stage.desired(), stage.written()) == (*before, [])
    assert stage.happened("execution") == []
    assert stage.decisions(function), "nothing was said about it"
    assert len(stage.text(function)) < 10_000


def test_a_known_name_is_not_counted_as_unknown(stage: Stage) -> None:
    told("bp.backend", "JobQueued", workflow_slug="face-swap")(stage)
    [invocation] = stage.answered("reconcile")
    assert invocation["error"] is None
    until(lambda: stage.counted("reconcile", "ReconcileHeartbeat") == 1)
    assert not [line for line in stage.lines("reconcile") if any(key.startswith("Unknown") for key in line)]


DRAIN: dict[str, Any] = json.loads((EVENTS / "scale_in_look.json").read_text())["drain"]
NOTICE: dict[str, Any] = json.loads((EVENTS / "spot_interruption_respond.json").read_text())["notice"]


def without(task: dict[str, Any], field: str) -> dict[str, Any]:
    return {key: value for key, value in task.items() if key != field}


@pytest.mark.parametrize(
    ("machine", "given", "error"),
    [
        ("scale-in", {"drain": without(DRAIN, "worker_row_id")}, "ScaleInFailed"),
        ("scale-in", {"drain": DRAIN | {"look_seconds": "soon"}}, "ScaleInFailed"),
        ("scale-in", {}, "ScaleInFailed"),
        ("spot-interruption", {"notice": without(NOTICE, "max_looks")}, "SpotInterruptionFailed"),
        ("spot-interruption", {"notice": NOTICE | {"kind": "rumour"}}, "SpotInterruptionFailed"),
    ],
)
def test_a_task_whose_input_lacks_something_ends_as_a_failure_to_be_seen(
    stage: Stage, machine: str, given: dict[str, Any], error: str
) -> None:
    before = stage.rows(), stage.desired()
    arn = f"arn:aws:states:us-east-1:123456789012:stateMachine:bp-staging-{machine}"
    client = stage.world.cloud.client("stepfunctions")
    client.start_execution(stateMachineArn=arn, name=str(uuid.uuid4()), input=json.dumps(given))
    [ended] = until(lambda: stage.happened("execution", status="FAILED"), seconds=15)
    assert ended["error"] == error
    assert (stage.rows(), stage.desired(), stage.written()) == (*before, [])
