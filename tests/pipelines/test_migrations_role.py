"""The role that migrates may do what migrate.sh does, on what the stage's own stacks make, and no more."""

from __future__ import annotations

import re
from typing import Any

from tests.template.conftest import resolved

from .test_workflows import ROOT, roles

STATEMENTS: list[dict[str, Any]] = roles()["MigrationsRole"]["Policies"][0]["PolicyDocument"]["Statement"]


def of(action: str) -> dict[str, Any]:
    [found] = [statement for statement in STATEMENTS if statement["Action"] == action]
    return found


def made(kind: str) -> list[dict[str, Any]]:
    return [r["Properties"] for stack in resolved().values() for r in stack.values() if r["Type"] == kind]


def test_it_may_do_what_the_script_does_and_pass_a_role() -> None:
    called = re.findall(r"aws (\w+) ([a-z-]+)", (ROOT / "scripts/pipeline/migrate.sh").read_text())
    names = {f"{service}:{''.join(word.capitalize() for word in call.split('-'))}" for service, call in called}
    needed = (names - {"ecs:Wait", "lambda:Invoke"}) | {"lambda:InvokeFunction", "iam:PassRole"}
    assert {statement["Action"] for statement in STATEMENTS} == needed
    assert not any(statement["Resource"] == "*" for statement in STATEMENTS)


def test_it_may_pass_the_two_roles_of_the_backends_task_to_ecs_and_no_other() -> None:
    task_roles = {role["RoleName"] for role in made("AWS::IAM::Role") if "RoleName" in role}
    passed = {arn.rpartition("/")[2] for arn in of("iam:PassRole")["Resource"]}
    assert passed == {"bp-staging-task-execution", "bp-staging-backend-task"}
    assert passed <= task_roles
    assert of("iam:PassRole")["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}


def test_it_may_run_the_backends_task_on_the_stages_own_cluster_only() -> None:
    [cluster] = of("ecs:RunTask")["Condition"]["ArnEquals"].values()
    assert cluster.endswith(":cluster/bp-staging")
    assert [properties["ClusterName"] for properties in made("AWS::ECS::Cluster")] == ["bp-staging"]
    family = of("ecs:RunTask")["Resource"].rpartition("task-definition/")[2]
    assert family in {f"{properties['Family']}:*" for properties in made("AWS::ECS::TaskDefinition")}


def test_the_function_that_grants_is_one_that_the_stage_has() -> None:
    name = of("lambda:InvokeFunction")["Resource"].rpartition(":")[2]
    assert name in {properties.get("FunctionName") for properties in made("AWS::Lambda::Function")} | {
        properties.get("FunctionName") for properties in made("AWS::Serverless::Function")
    }
