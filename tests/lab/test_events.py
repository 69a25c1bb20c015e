"""EventBridge and SNS deliver as on AWS: to functions asynchronously, to machines and queues, with true envelopes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lab.cloud import journal as journals
from lab.cloud.aws import Cloud
from lab.cloud.events import event, rate_seconds, start_schedules
from lab.cloud.functions import FakeLambda, Function, LambdaService
from lab.cloud.names import function_arn

from .conftest import Write
from .waiting import until

PASSES = json.dumps({"StartAt": "Pass", "States": {"Pass": {"Type": "Pass", "End": True}}})
ROLE = "arn:aws:iam::123456789012:role/any"


class Ear:
    def __init__(self, cloud: Cloud, heard: list[Any], run_dir: Path) -> None:
        self.cloud, self.heard, self.run_dir = cloud, heard, run_dir
        self.events = cloud.client("events")

    def rule(self, name: str, arn: str, **target: Any) -> None:
        pattern = json.dumps({"source": ["bp.backend"], "detail": {"n": [{"numeric": [">", 1]}]}})
        self.events.put_rule(Name=name, EventPattern=pattern)
        self.events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": arn, **target}])

    def journal(self, kind: str) -> list[dict[str, Any]]:
        return [entry for entry in journals.read(self.run_dir / "journal.jsonl") if entry["kind"] == kind]


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    heard: list[Any] = []
    with Cloud(tmp_path, FakeLambda({"ear": heard.append})) as cloud:
        yield Ear(cloud, heard, tmp_path)


def test_a_matching_event_reaches_the_function_in_its_true_envelope(ear: Ear) -> None:
    ear.rule("jobs", function_arn("ear"))
    for number in (1, 2):
        entry = {"Source": "bp.backend", "DetailType": "JobQueued", "Detail": json.dumps({"n": number})}
        ear.events.put_events(Entries=[entry])
    until(lambda: ear.heard)
    time.sleep(0.1)
    [message] = ear.heard
    assert (message["detail-type"], message["detail"], message["version"]) == ("JobQueued", {"n": 2}, "0")
    assert message["time"].endswith("Z") and message["account"] == "123456789012"
    [entry] = ear.journal("event")
    assert (entry["rule"], entry["detail_type"]) == ("jobs", "JobQueued")


def test_a_constant_input_replaces_the_event(ear: Ear) -> None:
    ear.rule("jobs", function_arn("ear"), Input='{"period_seconds": 60}')
    ear.cloud.bus.put(event("bp.backend", "JobQueued", {"n": 5}))
    assert until(lambda: ear.heard) == [{"period_seconds": 60}]


def test_a_parameter_that_is_put_says_so(ear: Ear) -> None:
    pattern = json.dumps({"source": ["aws.ssm"], "detail": {"operation": ["Update"], "name": [{"prefix": "/bp/"}]}})
    ear.events.put_rule(Name="images", EventPattern=pattern)
    ear.events.put_targets(Rule="images", Targets=[{"Id": "1", "Arn": function_arn("ear")}])
    for value in ("ami-1", "ami-2"):
        ear.cloud.client("ssm").put_parameter(Name="/bp/ami", Value=value, Type="String", Overwrite=True)
    [message] = until(lambda: ear.heard)
    assert message["detail-type"] == "Parameter Store Change"
    assert message["detail"] == {"operation": "Update", "name": "/bp/ami", "type": "String"}
    assert message["resources"] == ["arn:aws:ssm:us-east-1:123456789012:parameter/bp/ami"]


def test_a_disabled_rule_is_silent(ear: Ear) -> None:
    ear.rule("jobs", function_arn("ear"))
    ear.events.disable_rule(Name="jobs")
    ear.cloud.bus.put(event("bp.backend", "JobQueued", {"n": 5}))
    time.sleep(0.1)
    assert ear.heard == []


def test_a_machine_is_started_with_the_event_as_its_input(ear: Ear) -> None:
    machines = ear.cloud.client("stepfunctions")
    arn = machines.create_state_machine(name="passes", definition=PASSES, roleArn=ROLE)["stateMachineArn"]
    ear.rule("jobs", arn)
    ear.cloud.bus.put(event("bp.backend", "JobQueued", {"n": 5}))
    [started] = machines.list_executions(stateMachineArn=arn)["executions"]
    given = json.loads(machines.describe_execution(executionArn=started["executionArn"])["input"])
    assert given["detail"] == {"n": 5}
    until(lambda: len(ear.journal("execution")) == 2)
    assert [entry["status"] for entry in ear.journal("execution")] == ["RUNNING", "SUCCEEDED"]


def test_a_schedule_fires_at_its_pace_with_its_constant(ear: Ear) -> None:
    ear.events.put_rule(Name="bp-staging-publish-metrics", ScheduleExpression="rate(1 minute)")
    target = {"Id": "1", "Arn": function_arn("ear"), "Input": '{"period_seconds": 60}'}
    ear.events.put_targets(Rule="bp-staging-publish-metrics", Targets=[target])
    ear.cloud.bus.put(event("bp.backend", "JobQueued", {"n": 5}))
    started = start_schedules(ear.cloud.bus, ear.cloud.timers, {"publish-metrics": 0.1})
    assert started == {"bp-staging-publish-metrics": 0.1}
    until(lambda: len(ear.heard) >= 3)
    assert ear.heard[:3] == [{"period_seconds": 60}] * 3


def test_a_schedule_tells_when_it_was_due_and_its_times_are_as_far_apart_as_its_rate(ear: Ear) -> None:
    ear.events.put_rule(Name="bp-staging-publish-metrics", ScheduleExpression="rate(1 minute)")
    transformer = {"InputPathsMap": {"time": "$.time"}, "InputTemplate": '{"period_seconds": 1, "time": "<time>"}'}
    target = {"Id": "1", "Arn": function_arn("ear"), "InputTransformer": transformer}
    ear.events.put_targets(Rule="bp-staging-publish-metrics", Targets=[target])
    start_schedules(ear.cloud.bus, ear.cloud.timers, {"publish-metrics": 1.0})
    until(lambda: len(ear.heard) >= 3)
    times = sorted(datetime.fromisoformat(heard["time"]) for heard in ear.heard[:3])
    assert [(later - earlier).total_seconds() for earlier, later in pairwise(times)] == [1.0, 1.0]
    assert ear.heard[0]["period_seconds"] == 1


def test_only_rates_are_run() -> None:
    assert [rate_seconds(text) for text in ("rate(1 minute)", "rate(5 minutes)", "cron(0 * * * ? *)")] == [
        60,
        300,
        None,
    ]


def test_a_topic_invokes_its_function_with_a_true_record(ear: Ear) -> None:
    topics = ear.cloud.client("sns")
    arn = topics.create_topic(Name="bp-staging-scale-to-zero")["TopicArn"]
    subscribed = topics.subscribe(TopicArn=arn, Protocol="lambda", Endpoint=function_arn("ear"))
    sent = topics.publish(TopicArn=arn, Message='{"AlarmName": "a"}', Subject="ALARM")
    [message] = until(lambda: ear.heard)
    [record] = message["Records"]
    assert record["EventSource"] == "aws:sns"
    assert record["EventSubscriptionArn"] == subscribed["SubscriptionArn"]
    told = record["Sns"]
    assert (told["TopicArn"], told["MessageId"], told["Subject"]) == (arn, sent["MessageId"], "ALARM")
    assert json.loads(told["Message"]) == {"AlarmName": "a"}


def test_a_function_error_has_its_name_in_a_machine(ear: Ear) -> None:
    class DatabaseAwayError(Exception):
        pass

    def fails(given: Any) -> None:
        raise DatabaseAwayError("gone")

    ear.cloud.functions.handlers["fails"] = fails  # type: ignore[attr-defined]
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": function_arn("fails"), "Payload.$": "$"},
        "Catch": [{"ErrorEquals": ["DatabaseAwayError"], "ResultPath": "$.caught", "Next": "Caught"}],
        "End": True,
    }
    definition = {"StartAt": "Call", "States": {"Call": task, "Caught": {"Type": "Succeed"}}}
    machines = ear.cloud.client("stepfunctions")
    made = machines.create_state_machine(name="calls", definition=json.dumps(definition), roleArn=ROLE)
    run = machines.start_execution(stateMachineArn=made["stateMachineArn"], input="{}")["executionArn"]
    until(lambda: machines.describe_execution(executionArn=run)["status"] != "RUNNING")
    output = json.loads(machines.describe_execution(executionArn=run)["output"])
    assert output["caught"]["Error"] == "DatabaseAwayError"
    assert json.loads(output["caught"]["Cause"])["errorMessage"] == "gone"


def test_an_event_given_up_is_kept_with_its_error(tmp_path: Path, write_function: Write) -> None:
    body = "def handler(event, context):\n    raise ValueError('bad')\n"
    with Cloud(tmp_path, scale=0.001) as cloud:
        queues = cloud.client("sqs")
        urls = [queues.create_queue(QueueName=name)["QueueUrl"] for name in ("dead", "failed")]
        described = write_function("fails", body)
        service = cloud.functions
        assert isinstance(service, LambdaService)
        service.add(
            Function(
                name="fails",
                code_dir=described.code_dir,
                retries=1,
                dead_letter_arn="arn:aws:sqs:us-east-1:123456789012:dead",
                on_failure_arn="arn:aws:sqs:us-east-1:123456789012:failed",
            )
        )
        service.invoke_async("fails", b'{"n": 1}')
        dead, failed = (until(partial(_received, queues, url)) for url in urls)
    assert json.loads(dead["Body"]) == {"n": 1}
    assert dead["MessageAttributes"]["ErrorMessage"]["StringValue"] == "bad"
    record = json.loads(failed["Body"])
    assert record["requestPayload"] == {"n": 1}
    assert record["responsePayload"]["errorType"] == "ValueError"
    assert record["requestContext"]["approximateInvokeCount"] == 2


def _received(queues: Any, url: str) -> Any:
    messages = queues.receive_message(QueueUrl=url, MessageAttributeNames=["All"]).get("Messages", [])
    return messages[0] if messages else None
