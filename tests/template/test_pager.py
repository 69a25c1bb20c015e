"""Whoever is woken can act, and what shall wake them is really sent: alarms beside the code and the pages they name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from fleet_control.decide.metrics import Window, WorkflowLoad, publication
from fleet_control.telemetry import Telemetry

from lab.render import Template

from .conftest import ROOT, properties_of, resolved

OURS = ("ComfyUI/Workers", "FleetControl")
Metric = tuple[str, str, frozenset[str]]
"""Namespace, name, names of its dimensions: with one too few or too many it is another metric, and has no values."""


def all_of(kind: str) -> list[dict[str, Any]]:
    return [properties for stack in resolved().values() for properties in properties_of(stack, kind).values()]


ALARMS = {alarm["AlarmName"]: alarm for alarm in all_of("AWS::CloudWatch::Alarm")}
WAKING = [name for name, alarm in ALARMS.items() if str(alarm["AlarmActions"]).count("ops-alerts")]


def places() -> set[str]:
    """Whatever a description may send somebody to, by its name in AWS."""
    kinds = {
        "AWS::Logs::LogGroup": "LogGroupName",
        "AWS::Logs::QueryDefinition": "Name",
        "AWS::SQS::Queue": "QueueName",
        "AWS::ECS::Service": "ServiceName",
    }
    return {properties[key] for kind, key in kinds.items() for properties in all_of(kind)}


def pages(description: str) -> Iterator[tuple[str, str]]:
    """File and heading, which is empty where none is named."""
    yield from re.findall(r"((?:docs|stacks)/[\w-]+\.(?:md|yaml))(?:, ([A-Z][^,.;)]*))?", description)


@pytest.mark.parametrize("name", WAKING)
def test_whoever_is_woken_is_told_where_to_go_on(name: str) -> None:
    description = ALARMS[name]["AlarmDescription"]
    assert len(description) <= 1024  # CloudWatch takes no more
    known = places()
    named = set(re.findall(r"(?:/(?:aws|ecs|gpu-workers)/[\w/-]+|bp-staging-[\w-]+)", description))
    assert named - known == set()
    queries = {place for place in known if place in description and place.startswith("bp-staging/")}
    assert len(queries) == description.count("bp-staging/")
    found = list(pages(description))
    for file, heading in found:
        assert not heading or re.search(rf"^##+ {re.escape(heading)}$", (ROOT / file).read_text("utf-8"), re.MULTILINE)
    assert named or queries or found


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> set[Metric]:
    """The contract's metrics by the code that makes them, the functions' own in the format that CloudWatch reads."""
    monkeypatch.setenv("STAGE", "staging")
    at = datetime(2026, 1, 5, 12, tzinfo=UTC)
    load = WorkflowLoad("face-swap", p50=60.0, completed=1)
    points = publication("staging", at, Window.before(at, 60), [load], frozenset()).points
    found = {(OURS[0], point.name, frozenset(name for name, _ in point.dimensions)) for point in points}
    for service in ("reconcile", "spot_interruption"):
        telemetry = Telemetry(service)
        for name in ("Holds", "Decisions", "Errors", "Failed", "ReconcileHeartbeat"):
            telemetry.count(name)
        telemetry.duration("RequeueSeconds", 1)
        telemetry._flush()
        for name, unit in (("CapacityBlockedSeconds", "Seconds"), ("LaunchBreakerOpen", "Count")):
            telemetry.gauge(name, unit, 1, WorkflowSlug="face-swap")
    for line in capsys.readouterr().out.splitlines():
        for told in json.loads(line)["_aws"]["CloudWatchMetrics"]:
            for dimensions in told["Dimensions"]:
                found |= {(told["Namespace"], metric["Name"], frozenset(dimensions)) for metric in told["Metrics"]}
    return found


def shown(stack: Template) -> Iterator[Metric]:
    """Of our own namespaces, by name or by search."""
    (dashboard,) = properties_of(stack, "AWS::CloudWatch::Dashboard").values()
    for widget in json.loads(dashboard["DashboardBody"])["widgets"]:
        for first, *rest in widget["properties"].get("metrics", []):
            if isinstance(first, str):
                named = [part for part in rest if isinstance(part, str)]
                yield first, named[0], frozenset(named[1::2])
            elif search := re.match(r"SEARCH\('\{([\w/]+),([\w,]+)\} .*MetricName=(.+)', ", first["expression"]):
                for name in re.findall(r'"(\w+)"', search[3]):
                    yield search[1], name, frozenset(search[2].split(","))


def test_an_alarm_watches_only_what_is_sent_under_these_very_dimensions(sent: set[Metric]) -> None:
    watched = {
        (alarm["Namespace"], alarm["MetricName"], frozenset(d["Name"] for d in alarm["Dimensions"]))
        for alarm in ALARMS.values()
        if alarm.get("Namespace") in OURS
    }
    assert len(watched) > 10
    assert watched - sent == set()


def test_the_dashboard_shows_only_what_is_sent_under_these_very_dimensions(
    stacks: dict[str, Template], sent: set[Metric]
) -> None:
    ours = {metric for metric in shown(stacks["Monitoring"]) if metric[0] in OURS}
    assert len(ours) > 12
    assert ours - sent == set()
