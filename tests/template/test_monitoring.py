"""What operators look at and what wakes them: the rows and alarms of the contract, section 6, and our own rows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lab.render import Template

from .conftest import ROOT, properties_of, resolved

OPS = "arn:aws:sns:us-east-1:123456789012:bp-staging-ops-alerts"
Widget = dict[str, Any]


def widgets(stack: Template) -> list[Widget]:
    (dashboard,) = properties_of(stack, "AWS::CloudWatch::Dashboard").values()
    assert dashboard["DashboardName"] == "bp-staging"
    found: list[Widget] = json.loads(dashboard["DashboardBody"])["widgets"]
    return found


@pytest.fixture(scope="module")
def board(stacks: dict[str, Template]) -> list[Widget]:
    return widgets(stacks["Monitoring"])


def rows(board: list[Widget]) -> dict[str, str]:
    """Everything a row shows, as text, by its heading; rows of the same heading are one."""
    found: dict[str, str] = {}
    for widget in sorted(board, key=lambda w: (w["y"], w["x"])):
        if widget["type"] == "text":
            heading = widget["properties"]["markdown"].removeprefix("### ")
        else:
            found[heading] = found.get(heading, "") + json.dumps(widget["properties"])
    return found


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        ("Way in", ["RequestCount", "HTTPCode_Target_5XX_Count", "TargetResponseTime", '"p50"', '"p95"', '"p99"']),
        ("Data", ["CPUUtilization", "DatabaseConnections", "FreeStorageSpace"]),
        ("Way out", ["BytesOutToDestination", "BytesInFromDestination", "ErrorPortAllocation"]),
        ("Fleets, by workflow", ["QueueDepth", "OldestJobAge", "BacklogPerInstance", "ActiveWorkers"]),
        ("Fleets, by workflow", ["JobProcessingP50", "ErrorRate", "SpotInterruptionCount"]),
        ("Control plane", ["Decisions", "Holds", "Errors", "ReconcileHeartbeat", "ControlPlaneHeartbeat"]),
        ("Control plane", ["bp-staging-failed-invocations", "bp-staging-undelivered-events"]),
        ("Spot", ["stateMachine:bp-staging-spot-interruption", "RequeueSeconds", "CapacityBlockedSeconds"]),
    ],
)
def test_a_row_shows_what_the_contract_says(board: list[Widget], row: str, shown: list[str]) -> None:
    assert [metric for metric in shown if metric not in rows(board)[row]] == []


def test_graphs_stand_side_by_side_and_hide_none(board: list[Widget]) -> None:
    cells = [
        (x, y)
        for widget in board
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(cells) == len(set(cells))
    assert {x for x, _ in cells} == set(range(24))


def test_every_graph_belongs_to_the_stage(board: list[Widget]) -> None:
    stays = [json.dumps(widget["properties"]) for widget in board if widget["type"] == "metric"]
    ours = ("staging", "LoadBalancer.LoadBalancerFullName", '"DBInstanceIdentifier", "Database"', "NatGatewayId=(")
    assert [text for text in stays if not any(name in text for name in ours)] == []
    assert [text for text in stays if "${" in text] == []


SEARCH = re.compile(r"SEARCH\('\{([\w/]+)((?:,\w+)+)\} (.+)', '(\w+)', (\d+)\)")


def test_searches_are_well_formed_and_name_one_namespace(board: list[Widget]) -> None:
    expressions = [
        metric[0]["expression"]
        for widget in board
        for metric in widget["properties"].get("metrics", [])
        if isinstance(metric[0], dict)
    ]
    assert len(expressions) > 10
    for expression in expressions:
        found = SEARCH.fullmatch(expression)
        assert found is not None, expression
        assert found[3].count('"') % 2 == 0
        assert found[3].count("(") == found[3].count(")")


def test_both_gateways_are_shown_when_there_are_two() -> None:
    one, two = (json.dumps(widgets(resolved(NatGateways=n)["Monitoring"])) for n in ("1", "2"))
    assert (one.count(" OR "), two.count(" OR ")) == (2, 2 + 3)


def counted() -> set[str]:
    """Names of the health metrics that the product's code counts or measures."""
    sources = [*(ROOT / "functions").rglob("*.py"), *(ROOT / "layers/fleet_control/fleet_control").rglob("*.py")]
    text = "\n".join(Path(source).read_text(encoding="utf-8") for source in sources)
    return set(re.findall(r'(?:count|duration|gauge)\("(\w+)"', text))


def test_health_metrics_of_the_dashboard_are_ones_that_the_code_counts(board: list[Widget]) -> None:
    text = json.dumps(board)
    direct = set(re.findall(r'"FleetControl", "(\w+)"', text))
    searched = [m for found in re.findall(r"\{FleetControl[\w,]*\}[^']*MetricName=\((.+?)\)", text) for m in [found]]
    named = direct | {name for found in searched for name in re.findall(r"\w+", found) if name != "OR"}
    assert {"Decisions", "Holds", "Errors", "RequeueSeconds"} <= named
    assert named - counted() == set()


ALARMS = {
    "p1-alb-5xx": (300, 1, "GreaterThanOrEqualToThreshold", 50),
    "p2-alb-5xx": (300, 1, "GreaterThanOrEqualToThreshold", 10),
    "p1-rds-cpu": (300, 2, "GreaterThanOrEqualToThreshold", 95),
    "p2-rds-cpu": (300, 1, "GreaterThanOrEqualToThreshold", 80),
    "p1-rds-storage": (300, 1, "LessThanThreshold", 2 * 1024**3),
    "p1-backend-unhealthy": (60, 5, "LessThanThreshold", 1),
    "p2-redis-memory": (300, 2, "GreaterThanOrEqualToThreshold", 90),
    "face-swap-p2-error-rate": (60, 1, "GreaterThanOrEqualToThreshold", 20),
    "face-swap-p3-queue-long": (300, 6, "GreaterThanOrEqualToThreshold", 10),
    "face-swap-p2-job-waits": (300, 3, "GreaterThanOrEqualToThreshold", 1800),
}
"""Period (s), periods, comparison, threshold."""


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_goes_off_as_the_contract_says(stacks: dict[str, Template], name: str) -> None:
    found = [a for s in stacks.values() for a in properties_of(s, "AWS::CloudWatch::Alarm").values()]
    (alarm,) = [alarm for alarm in found if alarm["AlarmName"] == f"bp-staging-{name}"]
    stats = [metric["MetricStat"] for metric in alarm.get("Metrics", []) if "MetricStat" in metric]
    period = stats[0]["Period"] if stats else alarm["Period"]
    values = (period, alarm["EvaluationPeriods"], alarm["ComparisonOperator"], alarm["Threshold"])
    assert values == ALARMS[name]
    assert alarm["AlarmActions"] == [OPS]


WATCHED = {
    "p1-rds-cpu": ("AWS/RDS", "CPUUtilization", {"DBInstanceIdentifier": "Database"}),
    "p2-rds-cpu": ("AWS/RDS", "CPUUtilization", {"DBInstanceIdentifier": "Database"}),
    "p1-rds-storage": ("AWS/RDS", "FreeStorageSpace", {"DBInstanceIdentifier": "Database"}),
    "face-swap-p2-error-rate": (
        "ComfyUI/Workers",
        "ErrorRate",
        {"Stage": "staging", "WorkflowSlug": "face-swap"},
    ),
    "face-swap-p2-job-waits": (
        "ComfyUI/Workers",
        "OldestJobAge",
        {"Stage": "staging", "WorkflowSlug": "face-swap"},
    ),
    "face-swap-p3-queue-long": (
        "ComfyUI/Workers",
        "QueueDepth",
        {"Stage": "staging", "WorkflowSlug": "face-swap"},
    ),
}


@pytest.mark.parametrize("name", WATCHED)
def test_an_alarm_watches_what_the_contract_says(stacks: dict[str, Template], name: str) -> None:
    found = [a for s in stacks.values() for a in properties_of(s, "AWS::CloudWatch::Alarm").values()]
    (alarm,) = [alarm for alarm in found if alarm["AlarmName"] == f"bp-staging-{name}"]
    dimensions = {d["Name"]: d["Value"] for d in alarm["Dimensions"]}
    assert (alarm["Namespace"], alarm["MetricName"], dimensions) == WATCHED[name]


@pytest.mark.parametrize("name", ["p1-alb-5xx", "p2-alb-5xx"])
def test_every_5xx_counts_whoever_said_it(stacks: dict[str, Template], name: str) -> None:
    alarms = properties_of(stacks["Monitoring"], "AWS::CloudWatch::Alarm").values()
    (alarm,) = [alarm for alarm in alarms if alarm["AlarmName"] == f"bp-staging-{name}"]
    (total,) = [metric for metric in alarm["Metrics"] if "Expression" in metric]
    parts = {m["Id"]: m["MetricStat"]["Metric"]["MetricName"] for m in alarm["Metrics"] if "MetricStat" in m}
    assert set(parts.values()) == {"HTTPCode_Target_5XX_Count", "HTTPCode_ELB_5XX_Count"}
    assert all(f"FILL({part}, 0)" in total["Expression"] for part in parts)
    assert [m["Id"] for m in alarm["Metrics"] if m.get("ReturnData", True)] == [total["Id"]]


@pytest.mark.parametrize(("pushed", "missing"), [("true", "breaching"), ("false", "notBreaching")])
def test_a_backend_without_any_task_rings_once_there_are_images(pushed: str, missing: str) -> None:
    """A target group that is empty sends no HealthyHostCount at all: that is the whole backend gone."""
    stacks = resolved(ImagesPushed=pushed)
    assert stacks["Monitoring"]["NoHealthyBackendAlarm"]["Properties"]["TreatMissingData"] == missing


def budgets(**changes: str) -> list[dict[str, Any]]:
    return list(properties_of(resolved(**changes)["Monitoring"], "AWS::Budgets::Budget").values())


def test_a_budget_is_kept_only_where_somebody_is_told_of_it() -> None:
    assert budgets() == budgets(OpsEmail="ops@example.com") == []
    (budget,) = budgets(OpsEmail="ops@example.com", MonthlyBudget="300")
    assert str(budget["Budget"]["BudgetLimit"]["Amount"]) == "300"
    notices = budget["NotificationsWithSubscribers"]
    assert [n["Notification"]["Threshold"] for n in notices] == [80, 100]
    assert all(n["Subscribers"] == [{"SubscriptionType": "EMAIL", "Address": "ops@example.com"}] for n in notices)
