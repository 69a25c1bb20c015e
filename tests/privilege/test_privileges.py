"""Least privilege both ways: what is called is allowed, what is allowed is called, and nothing else is possible."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from lab.iam.policies import Request, Rule, allowed
from lab.iam.requests import GROUP_ID, OPERATIONS, SECRET_SUFFIX, Place, as_request
from lab.iam.roles import Role, Stacks

from .conftest import Run
from .judge import ACCOUNT, asked

HERE = Place(ACCOUNT, "us-east-1")
GET_PARAMETER = re.compile(r"aws ssm get-parameter .*?--name (\S+)")
Requests = Mapping[str, list[Request]]


@pytest.fixture(scope="session")
def requests(run: Run, stacks: Stacks) -> Requests:
    """What each role has asked for: by the run, and by the user data of the instances."""
    names = {stack: GET_PARAMETER.findall(user_data(stacks, stack)) for stack in stacks}
    instances = {
        f"{stack}/WorkerRole": [as_request(HERE, "ssm", "GetParameter", {"Name": name}) for name in found]
        for stack, found in names.items()
        if found
    }
    return asked(run.journal) | instances


def user_data(stacks: Stacks, stack: str) -> str:
    template = stacks[stack].get("FleetLaunchTemplate", {"Properties": {"LaunchTemplateData": {"UserData": ""}}})
    return str(template["Properties"]["LaunchTemplateData"]["UserData"])


def test_every_call_is_allowed_to_its_caller(requests: Requests, roles: dict[str, Role]) -> None:
    assert [(who, r) for who, made in requests.items() for r in made if not allowed(roles[who].rules, r)] == []


def test_no_permission_can_be_taken_away_unnoticed(requests: Requests, roles: dict[str, Role]) -> None:
    """Each used permission is the only one that allows some recorded call: none is granted twice."""
    spare = []
    for name, made in requests.items():
        for rule in roles[name].own:
            rest = [other for other in roles[name].rules if other is not rule]
            if any(rule.covers_any(request) for request in made) and all(allowed(rest, request) for request in made):
                spare.append((name, rule))
    assert spare == []


def test_every_function_machine_schedule_and_instance_was_seen_calling(
    requests: Requests, roles: dict[str, Role]
) -> None:
    assert requests.keys() == {name for name in roles if not name.startswith("Compute/")}  # the lab runs no tasks


def test_every_operation_of_the_table_was_called(requests: Requests) -> None:
    called = {request.action for made in requests.values() for request in made}
    assert called == {operation.action for operation in OPERATIONS.values()}


def unused(requests: Requests, roles: dict[str, Role]) -> set[tuple[str, Rule]]:
    return {
        (name, rule)
        for name, role in roles.items()
        for rule in role.rules
        if rule.allows and not any(rule.covers_any(request) for request in requests.get(name, ()))
    }


def excuses() -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("unused.toml").read_text())["unused"]
    return listed


def is_excused(name: str, rule: Rule, excuse: dict[str, Any]) -> bool:
    return rule.action in excuse["actions"] and any(fnmatch(name, pattern) for pattern in excuse["roles"])


def test_every_permission_is_used_or_has_its_reason(requests: Requests, roles: dict[str, Role]) -> None:
    idle = unused(requests, roles)
    listed = excuses()
    assert [(n, r.action, r.resource) for n, r in idle if not any(is_excused(n, r, e) for e in listed)] == []


def test_no_reason_is_given_for_what_is_used_or_not_there(requests: Requests, roles: dict[str, Role]) -> None:
    idle = unused(requests, roles)
    idle_by_role = {(name, rule.action) for name, rule in idle}
    stale = [
        (pattern, action)
        for excuse in excuses()
        for pattern in excuse["roles"]
        for action in excuse["actions"]
        if not any(fnmatch(name, pattern) and action == known for name, known in idle_by_role)
    ]
    assert stale == []
    assert all(len(excuse["reason"]) > 30 for excuse in excuses())


TRUSTED = {
    "*FunctionRole": "lambda.amazonaws.com",
    "*MachineRole": "states.amazonaws.com",
    "*EveryMinuteRole": "events.amazonaws.com",
    "*/WorkerRole": "ec2.amazonaws.com",
    "Compute/*": "ecs-tasks.amazonaws.com",
}


def test_only_the_service_that_needs_a_role_may_assume_it(roles: dict[str, Role]) -> None:
    expected = {name: next(s for p, s in TRUSTED.items() if fnmatch(name, p)) for name in roles}
    assert {name: role.trusts for name, role in roles.items()} == {n: (s,) for n, s in expected.items()}


def test_functions_are_invoked_by_our_own_rules_and_topics_only(stacks: Stacks) -> None:
    permissions = [r["Properties"] for r in stacks[""].values() if r["Type"] == "AWS::Lambda::Permission"]
    assert {p["Principal"] for p in permissions} == {"events.amazonaws.com", "sns.amazonaws.com"}
    assert all(p["SourceArn"].startswith("arn:aws:") for p in permissions)


def test_functions_and_machines_can_trace(roles: dict[str, Role]) -> None:
    traced = [role for name, role in roles.items() if fnmatch(name, "*FunctionRole") or fnmatch(name, "*MachineRole")]
    assert len(traced) == 9 + 4
    assert all(allowed(role.rules, Request("xray:PutTraceSegments")) for role in traced)


def arn(service: str, rest: str, region: str = "us-east-1", account: str = ACCOUNT) -> str:
    return f"arn:aws:{service}:{region}:{account}:{rest}"


def group(name: str, **place: str) -> str:
    return arn("autoscaling", f"autoScalingGroup:{GROUP_ID}:autoScalingGroupName/{name}", **place)


def secret(name: str) -> str:
    return arn("secretsmanager", f"secret:{name}{SECRET_SUFFIX}")


def machine(name: str) -> str:
    return arn("states", f"stateMachine:{name}")


SET, KILL = "autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"
LET_GO = "autoscaling:CompleteLifecycleAction"
READ, START, PUBLISH = "secretsmanager:GetSecretValue", "states:StartExecution", "cloudwatch:PutMetricData"
INVOKE, PUT, GET = "lambda:InvokeFunction", "ssm:PutParameter", "ssm:GetParameter"
OF_DATABASE = ["Reconcile", "PublishMetrics", "ScaleToZero", "ScaleIn", "SpotInterruption"]
FORBIDDEN = [
    ("ReconcileFunctionRole", SET, group("asg-production-face-swap")),
    ("ReconcileFunctionRole", SET, group("somebody-elses")),
    ("ReconcileFunctionRole", SET, group("asg-staging-face-swap", region="eu-west-1")),
    ("ReconcileFunctionRole", SET, group("asg-staging-face-swap", account="999999999999")),
    ("ReconcileFunctionRole", "autoscaling:SuspendProcesses", group("asg-production-face-swap")),
    ("ReconcileFunctionRole", "autoscaling:ResumeProcesses", group("asg-production-face-swap")),
    ("ReconcileFunctionRole", "autoscaling:UpdateAutoScalingGroup", group("asg-staging-face-swap")),
    ("ReconcileFunctionRole", "autoscaling:DeleteAutoScalingGroup", group("asg-staging-face-swap")),
    ("ReconcileFunctionRole", KILL, group("asg-staging-face-swap")),
    ("ReconcileFunctionRole", "ec2:TerminateInstances", arn("ec2", "instance/i-1")),
    ("ReconcileFunctionRole", START, machine("bp-staging-spot-interruption")),
    ("ReconcileFunctionRole", START, machine("bp-production-scale-in")),
    ("ReconcileFunctionRole", "states:StopExecution", arn("states", "execution:bp-staging-scale-in:x")),
    ("ScaleInFunctionRole", SET, group("asg-staging-face-swap")),
    ("ScaleInFunctionRole", KILL, group("asg-production-face-swap")),
    ("ScaleInFunctionRole", KILL, group("somebody-elses")),
    ("ScaleInFunctionRole", START, machine("bp-staging-scale-in")),
    ("ScaleToZeroFunctionRole", SET, group("asg-staging-face-swap")),
    ("ScaleToZeroFunctionRole", KILL, group("asg-staging-face-swap")),
    ("SpotInterruptionFunctionRole", SET, group("asg-staging-face-swap")),
    ("SpotInterruptionFunctionRole", START, machine("bp-staging-scale-in")),
    ("SpotInterruptionFunctionRole", KILL, group("asg-staging-face-swap")),
    ("SpotInterruptionFunctionRole", LET_GO, group("asg-production-face-swap")),
    ("SpotInterruptionFunctionRole", LET_GO, group("somebody-elses")),
    ("SpotInterruptionFunctionRole", "autoscaling:PutLifecycleHook", group("asg-staging-face-swap")),
    ("SpotInterruptionFunctionRole", "ec2:DeleteTags", arn("ec2", "instance/i-1")),
    ("SpotInterruptionFunctionRole", "ec2:CreateTags", arn("ec2", "volume/vol-1")),
    ("ReconcileFunctionRole", LET_GO, group("asg-production-face-swap")),
    ("ReconcileFunctionRole", "ec2:CreateTags", arn("ec2", "instance/i-1")),
    ("PublishMetricsFunctionRole", START, machine("bp-staging-scale-in")),
    ("TenantPoolInitFunctionRole", READ, secret("/bp/production/rds/master-credentials")),
    ("TenantPoolInitFunctionRole", READ, secret("/bp/staging/laravel/app-key")),
    ("FleetSecretInitFunctionRole", PUT, arn("ssm", "parameter/bp/staging/ami/face-swap")),
    ("FleetSecretInitFunctionRole", PUT, arn("ssm", "parameter/bp/production/fleet-secret")),
    ("FleetSecretInitFunctionRole", GET, arn("ssm", "parameter/bp/staging/fleet-secret")),
    ("FleetSecretInitFunctionRole", READ, secret("/bp/staging/rds/fleet-control")),
    ("FleetCycleMachineRole", INVOKE, arn("lambda", "function:bp-staging-tenant-pool-init")),
    ("FleetCycleMachineRole", INVOKE, arn("lambda", "function:bp-production-reconcile")),
    ("ScaleInMachineRole", INVOKE, arn("lambda", "function:bp-staging-scale-to-zero")),
    ("SpotInterruptionMachineRole", INVOKE, arn("lambda", "function:bp-staging-scale-in")),
    ("FleetCycleMachineEveryMinuteRole", START, machine("bp-staging-scale-in")),
    ("Fleetfaceswap/WorkerRole", GET, arn("ssm", "parameter/bp/staging/redis/endpoint")),
    ("Fleetfaceswap/WorkerRole", GET, arn("ssm", "parameter/bp/production/fleet-secret")),
    ("Fleetfaceswap/WorkerRole", READ, secret("/bp/staging/rds/fleet-control")),
    ("Fleetfaceswap/WorkerRole", "s3:PutObject", f"arn:aws:s3:::bp-models-{ACCOUNT}-staging/model"),
    ("Fleetfaceswap/WorkerRole", "s3:GetObject", f"arn:aws:s3:::bp-media-{ACCOUNT}-staging/tenants/1"),
    ("Fleetfaceswap/WorkerRole", "logs:PutLogEvents", arn("logs", "log-group:/gpu-workers/staging/image-to-video:*")),
    ("Fleetfaceswap/WorkerRole", "autoscaling:TerminateInstanceInAutoScalingGroup", group("asg-staging-face-swap")),
    ("Fleetfaceswap/WorkerRole", "autoscaling:SetInstanceHealth", group("asg-staging-image-to-video")),
    ("Fleetfaceswap/WorkerRole", "autoscaling:SetInstanceHealth", group("asg-production-face-swap")),
    *((f"{name}FunctionRole", READ, secret("/bp/staging/rds/master-credentials")) for name in OF_DATABASE),
    *((f"{name}FunctionRole", READ, secret("/bp/staging/rds/fleet-control-of-another")) for name in OF_DATABASE),
    *((f"{name}FunctionRole", READ, secret("/bp/production/rds/fleet-control")) for name in OF_DATABASE),
    *((f"{name}FunctionRole", PUBLISH, "*") for name in OF_DATABASE),
    *((f"{name}FunctionRole", "sqs:SendMessage", arn("sqs", "bp-staging-undelivered-events")) for name in OF_DATABASE),
]


@pytest.mark.parametrize(("role", "action", "resource"), FORBIDDEN)
def test_nobody_reaches_beyond_their_work(roles: dict[str, Role], role: str, action: str, resource: str) -> None:
    assert not allowed(roles[role].rules, Request(action, (resource,)))


@pytest.mark.parametrize(
    ("stage", "key", "may"),
    [
        ("staging", "fleet:rebalance-recommended", True),
        ("production", "fleet:rebalance-recommended", False),
        (None, "fleet:rebalance-recommended", False),
        ("staging", "Stage", False),
        ("staging", "fleet:workflows", False),
    ],
)
def test_only_a_recommendation_is_noted_and_only_on_the_stages_instances(
    roles: dict[str, Role], stage: str | None, key: str, may: bool
) -> None:
    context = {"aws:TagKeys": key} | ({"aws:ResourceTag/Stage": stage} if stage else {})
    request = Request("ec2:CreateTags", (arn("ec2", "instance/i-1"),), context)
    assert allowed(roles["SpotInterruptionFunctionRole"].rules, request) is may


@pytest.mark.parametrize("namespace", ["AWS/EC2", "FleetControl", "ComfyUI/Workers2", "comfyui/workers"])
def test_metrics_of_others_cannot_be_forged(roles: dict[str, Role], namespace: str) -> None:
    forged = Request(PUBLISH, context={"cloudwatch:namespace": namespace})
    assert not allowed(roles["PublishMetricsFunctionRole"].rules, forged)


def test_no_role_may_touch_identities_or_keys(roles: dict[str, Role]) -> None:
    services = ("iam", "sts", "kms", "organizations", "cloudformation")
    touched = [(n, r.action) for n, role in roles.items() for r in role.rules if r.action.split(":")[0] in services]
    assert touched == []
    assert not [(n, r.action) for n, role in roles.items() for r in role.rules if "*" in r.action]
