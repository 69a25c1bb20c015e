"""The deployment guide: its sums come out, its counts are those of the templates, its commands name what exists."""

from __future__ import annotations

import ast
import operator
import re
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse

from lab.render import Template
from tests.template.conftest import ROOT, properties_of, resolved

SIGNS = str.maketrans({"\u00d7": "*", "\u00f7": "/", "\u2212": "-"})
PAGE = (ROOT / "docs/deploy.md").read_text(encoding="utf-8").translate(SIGNS)
COSTS = PAGE.split("## What it costs a month")[1]
OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def sections() -> dict[str, list[tuple[str, str, str]]]:
    """Rows (item, arithmetic, USD) by heading."""
    parts = re.split(r"^### (.+)$", COSTS, flags=re.MULTILINE)
    return {title: list(rows(text)) for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def rows(text: str) -> Iterator[tuple[str, str, str]]:
    for line in text.splitlines():
        cells = [cell.strip().strip("*") for cell in line.strip("|").split("|")]
        if len(cells) == 3 and re.fullmatch(r"[\d.]+", cells[2]):
            yield cells[0], cells[1], cells[2]


def value(arithmetic: str) -> float:
    return calculated(ast.parse(arithmetic, mode="eval").body)


def calculated(node: ast.expr) -> float:
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](calculated(node.left), calculated(node.right))
    assert isinstance(node, ast.Constant)
    return float(node.value)  # type: ignore[arg-type]


LINES = [(title, *row) for title, found in sections().items() for row in found if row[1]]


@pytest.mark.parametrize(("title", "item", "arithmetic", "usd"), LINES, ids=[f"{t}: {i}" for t, i, _, _ in LINES])
def test_every_line_comes_out(title: str, item: str, arithmetic: str, usd: str) -> None:
    assert abs(value(arithmetic) - float(usd)) < 0.006


@pytest.mark.parametrize("title", ["Staging, without GPUs", "Production, without GPUs"])
def test_every_sum_comes_out(title: str) -> None:
    *items, (name, _, together) = sections()[title]
    assert name == "together"
    assert abs(sum(float(usd) for _, _, usd in items) - float(together)) < 0.006


def test_production_begins_with_what_staging_costs() -> None:
    staging = sections()["Staging, without GPUs"]
    costs = {item.split(",")[0]: usd for item, _, usd in staging}
    assert sections()["Production, without GPUs"][0][1] == f"{costs['together']} - {costs['RDS db.t4g.small']}"


def of_kind(stage: str, kind: str) -> list[dict[str, Any]]:
    stacks: dict[str, Template] = resolved(Stage=stage)
    return [properties for stack in stacks.values() for properties in properties_of(stack, kind).values()]


def test_the_counts_are_those_of_the_templates() -> None:
    alarms = of_kind("staging", "AWS::CloudWatch::Alarm")
    watched = sum(len([m for m in a.get("Metrics", []) if "MetricStat" in m]) or 1 for a in alarms)
    assert f"| alarms ({len(alarms)}, of which 2 watch two metrics) | {watched} * 0.10 |" in COSTS
    secrets = of_kind("staging", "AWS::SecretsManager::Secret")
    assert f"| secrets, one key | {len(secrets)} * 0.40 + 1.00 |" in COSTS
    assert len(of_kind("staging", "AWS::KMS::Key")) == len(of_kind("staging", "AWS::EC2::NatGateway")) == 1


@pytest.mark.parametrize(("stage", "zones", "price"), [("staging", False, "0.032"), ("production", True, "0.064")])
def test_the_database_is_priced_as_it_is_made(stage: str, zones: bool, price: str) -> None:
    (database,) = of_kind(stage, "AWS::RDS::DBInstance")
    assert (database["DBInstanceClass"], str(database["AllocatedStorage"])) == ("db.t4g.small", "20")
    assert database["MultiAZ"] in (zones, str(zones).lower())
    (arithmetic,) = [row[1] for row in sections()[f"{stage.title()}, without GPUs"] if row[0].startswith("RDS")]
    assert f"730 * {price}" in arithmetic


def test_as_much_concurrency_is_asked_for_as_is_reserved() -> None:
    functions = of_kind("staging", "AWS::Lambda::Function")
    reserved = sum(int(function.get("ReservedConcurrentExecutions", 0)) for function in functions)
    assert f"({reserved} are reserved, and 100 must stay unreserved) | 10 or 1000 | 200 | 200 |" in PAGE
    assert reserved + 100 < 200


@pytest.mark.parametrize(("stage", "column"), [("staging", 2), ("production", 3)])
def test_the_gpu_quota_is_that_of_a_full_stage(stage: str, column: int) -> None:
    (quota,) = [line for line in PAGE.splitlines() if line.startswith("| All G and VT")]
    overrides = tomllib.loads((ROOT / "samconfig.toml").read_text())[stage]["deploy"]["parameters"][
        "parameter_overrides"
    ]
    limit = dict(override.split("=") for override in overrides)["FleetWorkerLimit"]
    assert int(quota.strip("|").split("|")[column]) == 4 * int(limit)


def parameters(file: str) -> set[str]:
    return set(yaml_parse((ROOT / file).read_text())["Parameters"])


def test_parameters_that_the_guide_names_exist() -> None:
    known = parameters("template.yaml") | parameters("stacks/cicd.yaml")
    given = set(re.findall(r"\b([A-Z][a-z]\w*)=(?!=)", PAGE))
    tables = re.findall(r"^\| ((?:`[A-Z][a-z]\w+`(?:, )?)+)", PAGE, flags=re.MULTILINE)
    named = given | {name for cell in tables for name in re.findall(r"`(\w+)`", cell)}
    assert {"ImagesPushed", "DatabaseClass", "GitHubRepository"} <= named
    assert named - known - {"MaxSize"} == set()


def test_files_that_the_guide_names_exist() -> None:
    paths = set(re.findall(r"\b(?:stacks|events|docs|tests|docker|scripts|layers)/[\w./-]*\w", PAGE)) - {"tests/docs"}
    assert paths >= {"stacks/cicd.yaml", "events/tenant_pool_init_by_hand.json"}
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    ("name", "kind", "key"),
    [
        ("bp-staging-tenant-pool-init", "AWS::Lambda::Function", "FunctionName"),
        ("/aws/lambda/bp-staging-reconcile", "AWS::Logs::LogGroup", "LogGroupName"),
        ("asg-staging-image-to-video", "AWS::AutoScaling::AutoScalingGroup", "AutoScalingGroupName"),
        ("bp-staging-ami-rollout-stopped", "AWS::CloudWatch::Alarm", "AlarmName"),
        ("bp-staging-p2-helper-stopped", "AWS::CloudWatch::Alarm", "AlarmName"),
        ("bp-staging-stopped-helpers", "AWS::SQS::Queue", "QueueName"),
        ("bp-staging-backend", "AWS::ECS::Service", "ServiceName"),
        ("/ecs/bp-staging-backend", "AWS::Logs::LogGroup", "LogGroupName"),
        ("/bp/staging/oauth/secrets", "AWS::SecretsManager::Secret", "Name"),
        ("/bp/staging/laravel/app-key", "AWS::SecretsManager::Secret", "Name"),
        ("/bp/staging/redis/auth-token", "AWS::SecretsManager::Secret", "Name"),
    ],
)
def test_names_that_the_guide_types_out_are_deployed(name: str, kind: str, key: str) -> None:
    assert name in PAGE
    assert name in {properties.get(key) for properties in of_kind("staging", kind)}
