"""The drawn platform against the rendered one: boxes are resources, frames are stacks, arrows are what is deployed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from lab.render import Template
from tests.template.conftest import ROOT, resolved

DRAWN = {
    "AWS::AutoScaling::AutoScalingGroup",
    "AWS::CloudFront::Distribution",
    "AWS::CloudWatch::Dashboard",
    "AWS::EC2::LaunchTemplate",
    "AWS::EC2::NatGateway",
    "AWS::EC2::VPC",
    "AWS::EC2::VPCEndpoint",
    "AWS::ECS::Service",
    "AWS::ElastiCache::ReplicationGroup",
    "AWS::ElasticLoadBalancingV2::LoadBalancer",
    "AWS::ElasticLoadBalancingV2::TargetGroup",
    "AWS::Lambda::Function",
    "AWS::RDS::DBInstance",
    "AWS::S3::Bucket",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
    "AWS::StepFunctions::StateMachine",
    "Custom::AmiParameter",
    "Custom::FleetSecret",
    "Custom::TenantPools",
}
"""Types of which no resource may be missing from the picture."""

ARROW = re.compile(r"^  (\w+) (?:-- .+ )?--> (\w+)$")
Edges = set[tuple[str, str]]


def page() -> list[str]:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    picture = text.split("## The platform")[1].split("```mermaid")[1].split("```")[0]
    return picture.strip("\n").splitlines()


def boxes() -> dict[str, set[str]]:
    """Boxes by the frame they stand in."""
    frames: dict[str, set[str]] = {}
    frame = ""
    for line in page():
        if opened := re.match(r"  subgraph (\w+)", line):
            frame = opened[1]
        elif frame and (box := re.match(r"    (\w+)", line)):
            frames.setdefault(frame, set()).add(box[1])
        elif line == "  end":
            frame = ""
    return frames


def arrows() -> Edges:
    return {(found[1], found[2]) for line in page() if (found := ARROW.match(line))}


@pytest.fixture(scope="module")
def stacks() -> dict[str, Template]:
    """By the names of the frames: the fleets are one."""
    found = resolved()
    fleets = {name for name in found if name.startswith("Fleet")}
    others = {name or "root": stack for name, stack in found.items() if name not in fleets}
    return others | {"Fleet": found[min(fleets)]}


def of_type(stacks: dict[str, Template], *kinds: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for stack in stacks.values():
        yield from ((name, r["Properties"]) for name, r in stack.items() if r["Type"] in kinds)


KINDS = {"function": "FunctionName", "stateMachine": "StateMachineName", "sns": "TopicName", "sqs": "QueueName"}
"""Property that names a resource, by what stands in its ARN: the service, or the type after it."""


def named(stacks: dict[str, Template]) -> dict[str, str]:
    """Logical id by kind and the name at the end of an ARN."""
    every = [
        (name, r.get("Properties", {})) for stack in stacks.values() for name, r in stack.items() if r["Type"] in DRAWN
    ]
    by_name = {f"{kind}:{p[key]}": name for name, p in every for kind, key in KINDS.items() if key in p}
    assert {found.split(":")[0] for found in by_name} == set(KINDS)
    return by_name


def id_of(stacks: dict[str, Template], arn: str) -> str:
    """A function may be told by its name alone."""
    parts = arn.split(":")
    kind = next((part for part in (*parts[2:3], *parts[5:6]) if part in KINDS), "function")
    return named(stacks)[f"{kind}:{parts[-1]}"]


def test_every_box_is_a_resource_in_its_frames_stack(stacks: dict[str, Template]) -> None:
    assert {(frame, box) for frame, inside in boxes().items() for box in inside if box not in stacks[frame]} == set()


def test_nothing_that_is_deployed_is_missing(stacks: dict[str, Template]) -> None:
    deployed = {
        (frame, name)
        for frame, stack in stacks.items()
        for name, resource in stack.items()
        if resource["Type"] in DRAWN
    }
    assert deployed - {(frame, box) for frame, inside in boxes().items() for box in inside} == set()


def test_arrows_lead_from_and_to_what_is_drawn() -> None:
    outside = {"users", "ops", "bp_backend", "aws_ec2", "aws_autoscaling", "aws_ecs", "aws_ssm", "clock"}
    known = outside.union(*boxes().values())
    assert {end for arrow in arrows() for end in arrow} <= known
    assert all(any(box in arrow for arrow in arrows()) for box in outside)


def wired(stacks: dict[str, Template]) -> Edges:
    """What the templates connect: rules, schedules, queues, subscriptions, alarms, machines, customs, rights."""
    return {*rules(stacks), *queues(stacks), *topics(stacks), *machines(stacks), *customs(stacks), *permitted(stacks)}


def rules(stacks: dict[str, Template]) -> Iterator[tuple[str, str]]:
    for _, rule in of_type(stacks, "AWS::Events::Rule"):
        sources = rule.get("EventPattern", {}).get("source", ["clock"])
        for target in rule["Targets"]:
            yield from ((source.replace(".", "_"), id_of(stacks, target["Arn"])) for source in sources)


def queues(stacks: dict[str, Template]) -> Iterator[tuple[str, str]]:
    for _, mapping in of_type(stacks, "AWS::Lambda::EventSourceMapping"):
        yield id_of(stacks, mapping["EventSourceArn"]), id_of(stacks, mapping["FunctionName"])


def topics(stacks: dict[str, Template]) -> Iterator[tuple[str, str]]:
    for _, subscription in of_type(stacks, "AWS::SNS::Subscription"):
        if subscription["Protocol"] == "lambda":
            yield id_of(stacks, subscription["TopicArn"]), id_of(stacks, subscription["Endpoint"])
    for name, alarm in of_type(stacks, "AWS::CloudWatch::Alarm"):
        if name in boxes()["Fleet"]:
            yield from ((name, id_of(stacks, action)) for action in alarm["AlarmActions"])


def machines(stacks: dict[str, Template]) -> Iterator[tuple[str, str]]:
    for name, machine in of_type(stacks, "AWS::StepFunctions::StateMachine"):
        for arn in set(re.findall(r"arn:aws:lambda:[\w:-]+", machine["DefinitionString"])):
            yield name, id_of(stacks, arn)


def customs(stacks: dict[str, Template]) -> Iterator[tuple[str, str]]:
    kinds = [kind for kind in DRAWN if kind.startswith("Custom::")]
    for kind in kinds:
        for name, properties in of_type(stacks, kind):
            yield name, id_of(stacks, properties["ServiceToken"])


def permitted(stacks: dict[str, Template]) -> Iterator[tuple[str, str]]:
    """Who may start an execution of a machine."""
    for name, role in of_type(stacks, "AWS::IAM::Role"):
        for policy in role.get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                if "states:StartExecution" in statement["Action"] and name.endswith("FunctionRole"):
                    resource = statement["Resource"]
                    for arn in [resource] if isinstance(resource, str) else resource:
                        yield name.removesuffix("Role"), id_of(stacks, arn)


def test_every_connection_of_the_templates_is_an_arrow(stacks: dict[str, Template]) -> None:
    assert wired(stacks) - arrows() == set()


def test_no_arrow_of_these_kinds_is_invented(stacks: dict[str, Template]) -> None:
    """From events, schedules, queues, topics and machines, and to machines: only what the templates connect."""
    heads = {
        name for name, _ in of_type(stacks, "AWS::SQS::Queue", "AWS::SNS::Topic", "AWS::StepFunctions::StateMachine")
    }
    tails = {name for name, _ in of_type(stacks, "AWS::StepFunctions::StateMachine")}
    senders = {"bp_backend", "aws_ec2", "aws_autoscaling", "aws_ecs", "aws_ssm", "clock"}
    drawn = {(a, b) for a, b in arrows() if a in heads | senders or b in tails}
    assert drawn - wired(stacks) == {("OpsAlertsTopic", "ops")}
