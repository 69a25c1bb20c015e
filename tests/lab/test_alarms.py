"""Alarms change state as CloudWatch's do, missing data above all, and publish its notification on transitions only."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lab.cloud import journal as journals
from lab.cloud.alarms import judge
from lab.cloud.aws import Cloud
from lab.cloud.functions import FakeLambda
from lab.cloud.names import function_arn

from .waiting import until

Y, N, __ = True, False, None

JUDGEMENTS: dict[str, tuple[list[bool | None], str, str, str]] = {
    # breaches oldest first, treatment of missing data, state before → state after; 3 of 3 data points
    "three that breach alarm": ([Y, Y, Y], "missing", "OK", "ALARM"),
    "one that does not keeps it ok": ([Y, N, Y], "missing", "OK", "OK"),
    "a gap is filled from further back": ([Y, Y, __, Y], "missing", "OK", "ALARM"),
    "too few never alarm": ([__, __, Y, Y], "missing", "OK", "OK"),
    "too few keep an alarm": ([__, __, __, Y], "missing", "ALARM", "ALARM"),
    "none is no data": ([__, __, __, __], "missing", "ALARM", "INSUFFICIENT_DATA"),
    "none breaches if so told": ([__, __, __, __], "breaching", "OK", "ALARM"),
    "none is fine if so told": ([__, __, __, __], "notBreaching", "ALARM", "OK"),
    "none changes nothing if so told": ([__, __, __, __], "ignore", "ALARM", "ALARM"),
}


@pytest.mark.parametrize("case", JUDGEMENTS.values(), ids=JUDGEMENTS)
def test_the_state_follows_from_the_evaluation_range(case: tuple[list[bool | None], str, str, str]) -> None:
    breaches, missing, before, after = case
    assert judge(breaches, 3, 3, missing, before) == after


DIMENSIONS = [{"Name": "Stage", "Value": "staging"}, {"Name": "WorkflowSlug", "Value": "face-swap"}]


class Watch:
    """One alarm like a fleet's queue-empty: two periods of a minute, a minute being ten seconds here."""

    def __init__(self, cloud: Cloud, heard: list[Any], run_dir: Path) -> None:
        self.cloud, self.heard, self.run_dir = cloud, heard, run_dir
        self.metrics = cloud.client("cloudwatch")
        topics = cloud.client("sns")
        self.topic = topics.create_topic(Name="bp-staging-scale-to-zero")["TopicArn"]
        topics.subscribe(TopicArn=self.topic, Protocol="lambda", Endpoint=function_arn("ear"))
        self.metrics.put_metric_alarm(
            AlarmName="bp-staging-face-swap-queue-empty",
            Namespace="ComfyUI/Workers",
            MetricName="QueueDepth",
            Dimensions=DIMENSIONS,
            Statistic="Maximum",
            Period=60,
            EvaluationPeriods=2,
            Threshold=1,
            ComparisonOperator="LessThanThreshold",
            TreatMissingData="missing",
            AlarmActions=[self.topic],
        )
        self.now = time.time()
        cloud.alarms.minute = 10
        cloud.alarms.start()

    def publish(self, depth: float, seconds_ago: float, dimensions: list[dict[str, str]] = DIMENSIONS) -> None:
        when = datetime.fromtimestamp(self.now - seconds_ago, UTC)
        datum = {"MetricName": "QueueDepth", "Dimensions": dimensions, "Value": depth, "Timestamp": when}
        self.metrics.put_metric_data(Namespace="ComfyUI/Workers", MetricData=[datum])

    def state(self) -> str:
        self.cloud.alarms.evaluate(self.now)
        return str(self.metrics.describe_alarms()["MetricAlarms"][0]["StateValue"])


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    heard: list[Any] = []
    with Cloud(tmp_path, FakeLambda({"ear": heard.append})) as cloud:
        yield Watch(cloud, heard, tmp_path)


def test_a_new_alarm_has_no_data(watch: Watch) -> None:
    assert watch.state() == "INSUFFICIENT_DATA"
    assert watch.heard == []


def test_a_transition_is_published_once_in_cloudwatch_s_form(watch: Watch) -> None:
    watch.publish(0, 12)
    watch.publish(0, 2)
    assert [watch.state(), watch.state()] == ["ALARM", "ALARM"]
    [message] = until(lambda: watch.heard)
    told = message["Records"][0]["Sns"]
    assert told["Subject"] == 'ALARM: "bp-staging-face-swap-queue-empty" in US East (N. Virginia)'
    body = json.loads(told["Message"])
    assert (body["OldStateValue"], body["NewStateValue"]) == ("INSUFFICIENT_DATA", "ALARM")
    assert body["Trigger"]["Dimensions"] == [
        {"value": "staging", "name": "Stage"},
        {"value": "face-swap", "name": "WorkflowSlug"},
    ]
    assert (body["Trigger"]["Statistic"], body["Trigger"]["Period"]) == ("MAXIMUM", 60)
    [entry] = [entry for entry in journals.read(watch.run_dir / "journal.jsonl") if entry["kind"] == "alarm"]
    assert (entry["from"], entry["to"]) == ("INSUFFICIENT_DATA", "ALARM")


def test_a_job_within_a_period_counts_whatever_else_was_published(watch: Watch) -> None:
    watch.publish(0, 12)
    watch.publish(0, 8)
    watch.publish(3, 5)
    watch.publish(0, 2)
    assert watch.state() == "OK"


def test_another_workflow_s_metric_is_another_metric(watch: Watch) -> None:
    other = [DIMENSIONS[0], {"Name": "WorkflowSlug", "Value": "image-to-video"}]
    for seconds_ago in (12, 2):
        watch.publish(0, seconds_ago, other)
        watch.publish(0, seconds_ago, DIMENSIONS[:1])
    assert watch.state() == "INSUFFICIENT_DATA"
