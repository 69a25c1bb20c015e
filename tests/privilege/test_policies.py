"""The evaluator itself: a judge who lets everything pass would make every other test here worthless."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

import pytest

from lab.iam.policies import Request, UnsupportedPolicyError, allowed, arn_like, like, read
from lab.iam.requests import OPERATIONS, Place, UnknownCallError, as_request, calls

from .judge import ACCOUNT

GROUP = "arn:aws:autoscaling:us-east-1:1:autoScalingGroup:{}:autoScalingGroupName/{}"


def document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(action: Any = "s3:GetObject", resource: Any = "*", **rest: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **rest}


def deny(action: Any = "s3:GetObject", resource: Any = "*", **rest: Any) -> dict[str, Any]:
    return {**allow(action, resource, **rest), "Effect": "Deny"}


A, B = "arn:aws:s3:::a", "arn:aws:s3:::b"
EQUALS = {"StringEquals": {"k": ["v", "w"]}}
ALL = {"ForAllValues:StringEquals": {"keys": ["v", "w"]}}
VERDICTS = [
    ("nothing said", [], Request("s3:GetObject", (A,)), False),
    ("allowed", [allow()], Request("s3:GetObject", (A,)), True),
    ("another action", [allow()], Request("s3:PutObject", (A,)), False),
    ("action in another case", [allow("S3:getobject")], Request("s3:GetObject", (A,)), True),
    ("action by pattern", [allow("s3:Get*")], Request("s3:GetObject", (A,)), True),
    ("pattern of another service", [allow("s3:*")], Request("sqs:SendMessage"), False),
    ("resource in a list", [allow(resource=[B, A])], Request("s3:GetObject", (A,)), True),
    ("another resource", [allow(resource=B)], Request("s3:GetObject", (A,)), False),
    ("two resources, one allowed", [allow(resource=A)], Request("s3:GetObject", (A, B)), False),
    ("two resources, two statements", [allow(resource=A), allow(resource=B)], Request("s3:GetObject", (A, B)), True),
    ("no resource known, one given", [allow(resource=A)], Request("s3:GetObject"), False),
    ("denied after allowed", [allow(), deny()], Request("s3:GetObject", (A,)), False),
    ("denied before allowed", [deny(), allow()], Request("s3:GetObject", (A,)), False),
    ("another one denied", [allow(), deny(resource=B)], Request("s3:GetObject", (A,)), True),
    ("condition met", [allow(Condition=EQUALS)], Request("s3:GetObject", context={"k": "w"}), True),
    ("condition key in another case", [allow(Condition=EQUALS)], Request("s3:GetObject", context={"K": "w"}), True),
    ("condition not met", [allow(Condition=EQUALS)], Request("s3:GetObject", context={"k": "x"}), False),
    ("condition key absent", [allow(Condition=EQUALS)], Request("s3:GetObject"), False),
    ("absent but optional", [allow(Condition={"StringEqualsIfExists": {"k": "v"}})], Request("s3:GetObject"), True),
    ("deny whose condition fails", [allow(), deny(Condition=EQUALS)], Request("s3:GetObject"), True),
    (
        "negation means none of them",
        [allow(Condition={"StringNotEquals": {"k": ["v", "w"]}})],
        Request("s3:GetObject", context={"k": "w"}),
        False,
    ),
    (
        "both operators must hold",
        [allow(Condition={"StringLike": {"k": "v*"}, "Bool": {"secure": "true"}})],
        Request("s3:GetObject", context={"k": "vw", "secure": "false"}),
        False,
    ),
    ("all values match", [allow(Condition=ALL)], Request("s3:GetObject", context={"keys": "v"}), True),
    ("a value that does not", [allow(Condition=ALL)], Request("s3:GetObject", context={"keys": "x"}), False),
    ("all of no values", [allow(Condition=ALL)], Request("s3:GetObject"), True),
    (
        "an ARN by pattern",
        [allow(Condition={"ArnLike": {"aws:SourceArn": "arn:aws:s3:::a*"}})],
        Request("s3:GetObject", context={"aws:SourceArn": "arn:aws:s3:::abc"}),
        True,
    ),
]


@pytest.mark.parametrize(("statements", "request_", "verdict"), [v[1:] for v in VERDICTS], ids=[v[0] for v in VERDICTS])
def test_the_verdict(statements: list[dict[str, Any]], request_: Request, verdict: bool) -> None:
    assert allowed(read(document(*statements)), request_) is verdict


@pytest.mark.parametrize(
    ("pattern", "arn", "matches"),
    [
        (GROUP.format("*", "asg-staging-*"), GROUP.format("5f", "asg-staging-face-swap"), True),
        (GROUP.format("*", "asg-staging-*"), GROUP.format("5f", "asg-production-face-swap"), False),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b/deep/down", True),
        ("arn:aws:s3:*:x", "arn:aws:s3:::x", False),
        ("arn:aws:*:us-east-1:1:x", "arn:aws:sqs:us-east-1:1:x", True),
        ("arn:aws:sqs:us-*-1:1:x", "arn:aws:sqs:us-east-1:1:x", True),
        ("arn:aws:sqs:*:x", "arn:aws:sqs:us-east-1:1:x", False),
        ("secret:name-??????", "secret:name-Ab1Cd2", True),
        ("secret:name-??????", "secret:name-longer-Ab1Cd2", False),
        ("*", "*", True),
    ],
)
def test_a_wildcard_stays_within_its_part(pattern: str, arn: str, matches: bool) -> None:
    assert arn_like(pattern, arn) is matches


def test_only_star_and_question_mark_are_special() -> None:
    assert not like("a.c", "abc")
    assert not like("[ab]", "a")
    assert like("a?c*", "abcdef")


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ({"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}, "NotAction"),
        ({"Effect": "Allow", "Action": "s3:*", "NotResource": A}, "NotResource"),
        (allow(Condition={"DateLessThan": {"aws:CurrentTime": "2030-01-01"}}), "DateLessThan"),
        (allow(resource="arn:aws:s3:::${aws:username}"), "policy variable"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(statement: dict[str, Any], named: str) -> None:
    with pytest.raises(UnsupportedPolicyError, match=named):
        list(read(document(statement)))


def test_an_operation_nobody_has_looked_up_fails_by_name() -> None:
    entry = {"kind": "aws_call", "service": "ec2", "operation": "RunInstances", "caller": "bp-staging-x", "request": {}}
    with pytest.raises(UnknownCallError, match="ec2 RunInstances"):
        calls([entry], ACCOUNT)


def test_the_labs_own_calls_are_nobodys() -> None:
    entry = {"kind": "aws_call", "service": "ec2", "operation": "RunInstances", "caller": "lab", "request": {}}
    assert calls([entry], ACCOUNT) == []


@cache
def authorization_reference() -> dict[str, Any]:
    """Services → their actions with resource types, and the ARNs of those, as the linter carries AWS's reference."""
    path = files("cfnlint") / "data" / "AdditionalSpecs" / "Policies.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


SAMPLE = {
    "AutoScalingGroupName": "asg-staging-face-swap",
    "stateMachineArn": f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:bp-staging-scale-in",
    "FunctionName": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:bp-staging-scale-in",
    "QueueArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:bp-staging-failed-invocations",
    "SecretId": "/bp/staging/rds/fleet-control",
    "Name": "/bp/staging/fleet-secret",
    "Names": ["/bp/staging/ami/face-swap"],
    "ResourceId.1": "i-0a1b2c3d4e5f60718",
    "Tag.1.Key": "fleet:rebalance-recommended",
}
WITHOUT_RESOURCE_BY_CHOICE = {"cloudwatch:PutMetricData"}  # its resource, a dataset, is of OpenTelemetry metrics only


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_each_operation_is_authorized_as_awss_reference_says(service: str, operation: str) -> None:
    request = as_request(Place(ACCOUNT, "us-east-1"), service, operation, SAMPLE)
    prefix, action = request.action.split(":")
    reference = authorization_reference()[prefix]
    kinds = reference["Actions"][action.lower()].get("Resources", [])
    if not kinds or request.action in WITHOUT_RESOURCE_BY_CHOICE:
        assert request.resources == ("*",)
        return
    formats = [arn for kind in kinds for arn in reference["Resources"][kind.lower()]["ARNFormats"]]
    patterns = [re.sub(r"\$\{\w+\}", "[^:]*", form) for form in formats]
    assert any(re.fullmatch(pattern, request.resources[0]) for pattern in patterns)
