"""Metrics written as log lines become metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lab.cloud.aws import Cloud
from lab.cloud.emf import MetricLines
from lab.cloud.functions import FakeLambda
from lab.tail import objects

LINE = json.dumps(
    {
        "_aws": {
            "Timestamp": 1,
            "CloudWatchMetrics": [
                {
                    "Namespace": "FleetControl",
                    "Dimensions": [["Stage"]],
                    "Metrics": [{"Name": "Holds", "Unit": "Count"}],
                }
            ],
        },
        "Stage": "staging",
        "Holds": [2.0],
    }
)


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with Cloud(tmp_path, FakeLambda()) as cloud:
        yield cloud


def test_each_whole_line_is_counted_once(cloud: Cloud, tmp_path: Path) -> None:
    log, lines = tmp_path / "bp-staging-reconcile.log", MetricLines(tmp_path, cloud.lock)
    log.write_text(f'{{"message": "decision"}}\n{LINE}\n{LINE[:40]}')
    lines.collect()
    lines.collect()
    log.write_text(f'{{"message": "decision"}}\n{LINE}\n{LINE}\n')
    lines.collect()
    now = datetime.now(UTC)
    [point] = cloud.client("cloudwatch").get_metric_statistics(
        Namespace="FleetControl",
        MetricName="Holds",
        Dimensions=[{"Name": "Stage", "Value": "staging"}],
        StartTime=now - timedelta(minutes=1),
        EndTime=now + timedelta(minutes=1),
        Period=300,
        Statistics=["Sum", "SampleCount"],
    )["Datapoints"]
    assert (point["Sum"], point["SampleCount"]) == (4.0, 2.0)


def test_two_records_on_one_line_are_two() -> None:
    """Processes that share a log file write at the same moment now and then."""
    assert list(objects('{"a": 1}{"b": 2}\n')) == [{"a": 1}, {"b": 2}]
    assert list(objects('{"a": 1}{"b": ')) == [{"a": 1}]
    assert list(objects("Traceback")) == []
