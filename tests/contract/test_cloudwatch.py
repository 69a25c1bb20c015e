"""PutMetricData within its limits, and what CloudWatch has afterwards."""

from datetime import UTC, datetime, timedelta

import boto3
from fleet_control.act.cloudwatch import MAX_BYTES, CloudWatch, batches
from fleet_control.decide.metrics import Point

NOW = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
NAMESPACE = "ComfyUI/Workers"


def point(name: str = "QueueDepth", value: float = 1, slug: str = "face-swap") -> Point:
    return Point(name, "Count", value, NOW, (("Stage", "staging"), ("WorkflowSlug", slug)))


def test_a_zero_is_stored_as_data_under_both_dimensions(aws: None) -> None:
    client = boto3.client("cloudwatch")
    assert CloudWatch(client, NAMESPACE).put([point(value=0), point("BacklogPerInstance", 1.5)]) == 1
    names = {metric["MetricName"] for metric in client.list_metrics(Namespace=NAMESPACE)["Metrics"]}
    assert names == {"QueueDepth", "BacklogPerInstance"}
    at = NOW.replace(tzinfo=UTC)
    found = client.get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName="QueueDepth",
        Dimensions=[{"Name": "Stage", "Value": "staging"}, {"Name": "WorkflowSlug", "Value": "face-swap"}],
        StartTime=at - timedelta(minutes=2),
        EndTime=at + timedelta(minutes=2),
        Period=60,
        Statistics=["SampleCount", "Maximum"],
    )["Datapoints"]
    assert [(data["SampleCount"], data["Maximum"]) for data in found] == [(1, 0)]


def test_more_than_a_thousand_metrics_take_several_calls(aws: None) -> None:
    points = [point(slug=f"workflow-{number}") for number in range(1_001)]
    assert [len(batch) for batch in batches(points)] == [1_000, 1]
    assert CloudWatch(boto3.client("cloudwatch"), NAMESPACE).put(points) == 2


def test_long_names_are_split_by_size_before_the_count() -> None:
    points = [point(slug="x" * 255) for _ in range(1_000)]
    sizes = [len(batch) for batch in batches(points)]
    assert sum(sizes) == 1_000
    assert len(sizes) == 2
    assert max(sizes) * 3 * 255 < MAX_BYTES


def test_batches_keep_the_order_so_that_the_heartbeat_stays_last() -> None:
    points = [point(slug=str(number)) for number in range(2_500)] + [point("ControlPlaneHeartbeat")]
    assert [found for batch in batches(points) for found in batch] == points


def test_nothing_to_say_is_no_call() -> None:
    assert list(batches([])) == []
