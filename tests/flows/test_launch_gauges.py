"""A fleet that AWS refuses, or whose breaker is open, is a metric with its age, sent by the handler."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fleet_control.act.activities import Activity
from fleet_control.flows.reconcile import Ports

from tests.contract.handlers import Context, load

from .fakes import Stage, group_name, ports_of
from .test_launches import DRY, launched, refused, terminated

GROUP = group_name("face-swap")


def gauges(stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Metric → value of the one fleet after one look."""
    monkeypatch.setenv("STAGE", "staging")
    app = load("reconcile")
    monkeypatch.setattr(app, "ports", lambda: ports_of(stage, Ports, worker_limit=50))
    capsys.readouterr()
    app.handler({"step": "tick", "tick": 0}, Context())
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ours = [one for one in records if one.get("WorkflowSlug") == "face-swap" and "_aws" in one]
    assert all(one["Stage"] == "staging" for one in ours)
    names = [m["Name"] for one in ours for m in one["_aws"]["CloudWatchMetrics"][0]["Metrics"]]
    return {name: next(one[name][0] for one in ours if name in one) for name in names}


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    stage.fleet("face-swap", desired=1)
    stage.job("face-swap")
    return stage


def broken_image() -> list[Activity]:
    """Three instances that never registered and are gone, newest first."""
    numbers = (3, 2, 1)
    return [one for n in numbers for one in (terminated(f"i-{n}", 100 * n), launched(f"i-{n}", 700 + 100 * n))]


@pytest.mark.parametrize(
    ("activities", "expected"),
    [
        pytest.param([refused(5), refused(42, DRY)], {"CapacityBlockedSeconds": 42}, id="refused since 42 s"),
        pytest.param([launched("i-9", 3), refused(42, DRY)], {}, id="AWS launches again"),
        pytest.param(broken_image(), {"LaunchBreakerOpen": 1}, id="three launches that never registered"),
        pytest.param([], {}, id="nothing to tell"),
    ],
)
def test_what_stands_in_the_way_of_launches_is_a_gauge_of_its_fleet(
    stage: Stage,
    activities: list[Activity],
    expected: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stage.activities[GROUP] = activities
    assert gauges(stage, monkeypatch, capsys) == expected


def test_a_fleet_that_wants_nothing_is_not_blocked(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.dispatches.clear()
    stage.activities[GROUP] = [refused(42, DRY)]
    gauges(stage, monkeypatch, capsys)
    assert stage.groups[GROUP].desired == 0
    assert gauges(stage, monkeypatch, capsys) == {}
