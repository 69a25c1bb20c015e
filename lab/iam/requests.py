"""Recorded calls as IAM sees them: which action each API operation needs, on which resources, in what context.

Source: Service Authorization Reference. An action that knows no resource type is asked for on "*". Encryption needs no
entry: parameters and secrets use the AWS managed keys, whose policies admit every caller that Systems Manager or
Secrets Manager admits; the queues use SQS's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.iam.policies import ANY_RESOURCE, Request

Entry = Mapping[str, Any]
GROUP_ID = "930d940e-891e-4781-a11a-7b0acd480f03"
SECRET_SUFFIX = "-Ab1Cd2"  # noqa: S105 - six random characters that Secrets Manager appends to a name
LAB = frozenset({None, "lab", "observer"})


class UnknownCallError(LookupError):
    """An API operation without an entry in OPERATIONS: look it up and add it."""


@dataclass(frozen=True)
class Place:
    """Where a call is made, and what only the run knows: the group of each instance."""

    account: str
    region: str
    group_of: Mapping[str, str] = field(default_factory=dict)

    def arn(self, service: str, rest: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{rest}"


Resource = Callable[[Place, Entry], "str | tuple[str, ...]"]
Context = Callable[[Place, Entry], Mapping[str, str]]


@dataclass(frozen=True)
class Operation:
    """The action an operation needs, the resource it is authorized on, and the condition keys it sets."""

    action: str
    resource: Resource = lambda *_: ANY_RESOURCE
    context: Context = lambda *_: {}


def group(place: Place, request: Entry) -> str:
    """The group that is named, or the one that holds the named instance."""
    name = request.get("AutoScalingGroupName") or place.group_of[request["InstanceId"]]
    return place.arn("autoscaling", f"autoScalingGroup:{GROUP_ID}:autoScalingGroupName/{name}")


def given(name: str) -> Resource:
    """The resource is named by its ARN in this parameter of the request."""
    return lambda _, request: str(request[name])


def queue(place: Place, request: Entry) -> str:
    """Lambda names a queue by its ARN, the SDK by its URL."""
    return str(request.get("QueueArn") or place.arn("sqs", str(request["QueueUrl"]).rsplit("/", 1)[-1]))


def secret(place: Place, request: Entry) -> str:
    return place.arn("secretsmanager", f"secret:{request['SecretId']}{SECRET_SUFFIX}")


def parameter(place: Place, request: Entry) -> str:
    return place.arn("ssm", f"parameter/{request['Name'].lstrip('/')}")


def parameters(place: Place, request: Entry) -> tuple[str, ...]:
    """Each that is asked for needs its own Allow."""
    return tuple(parameter(place, {"Name": name}) for name in request["Names"])


def instance(place: Place, request: Entry) -> str:
    return place.arn("ec2", f"instance/{request['ResourceId.1']}")


def tagging(place: Place, request: Entry) -> Mapping[str, str]:
    """The tag that is set, and the stage of the instance as its group's name has it (the group propagates it)."""
    held_by = place.group_of.get(request["ResourceId.1"], "").split("-")
    stage = {"aws:ResourceTag/Stage": held_by[1]} if held_by[0] == "asg" else {}
    return {"aws:TagKeys": request["Tag.1.Key"], **stage}


def namespace(_: Place, request: Entry) -> Mapping[str, str]:
    return {"cloudwatch:namespace": request["Namespace"]} if "Namespace" in request else {}


OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("autoscaling", "CompleteLifecycleAction"): Operation("autoscaling:CompleteLifecycleAction", group),
    ("autoscaling", "DescribeAutoScalingGroups"): Operation("autoscaling:DescribeAutoScalingGroups"),
    ("autoscaling", "DescribeAutoScalingInstances"): Operation("autoscaling:DescribeAutoScalingInstances"),
    ("autoscaling", "DescribeScalingActivities"): Operation("autoscaling:DescribeScalingActivities"),
    ("autoscaling", "RecordLifecycleActionHeartbeat"): Operation("autoscaling:RecordLifecycleActionHeartbeat", group),
    ("autoscaling", "ResumeProcesses"): Operation("autoscaling:ResumeProcesses", group),
    ("autoscaling", "SetDesiredCapacity"): Operation("autoscaling:SetDesiredCapacity", group),
    ("autoscaling", "SuspendProcesses"): Operation("autoscaling:SuspendProcesses", group),
    ("autoscaling", "TerminateInstanceInAutoScalingGroup"): Operation(
        "autoscaling:TerminateInstanceInAutoScalingGroup", group
    ),
    ("cloudwatch", "PutMetricData"): Operation("cloudwatch:PutMetricData", context=namespace),
    ("ec2", "CreateTags"): Operation("ec2:CreateTags", instance, tagging),
    ("ec2", "DescribeInstances"): Operation("ec2:DescribeInstances"),
    ("lambda", "Invoke"): Operation("lambda:InvokeFunction", given("FunctionName")),
    ("secretsmanager", "GetSecretValue"): Operation("secretsmanager:GetSecretValue", secret),
    ("sqs", "SendMessage"): Operation("sqs:SendMessage", queue),
    ("ssm", "GetParameter"): Operation("ssm:GetParameter", parameter),
    ("ssm", "GetParameters"): Operation("ssm:GetParameters", parameters),
    ("ssm", "PutParameter"): Operation("ssm:PutParameter", parameter),
    ("states", "ListExecutions"): Operation("states:ListExecutions", given("stateMachineArn")),
    ("states", "StartExecution"): Operation("states:StartExecution", given("stateMachineArn")),
}


def as_request(place: Place, service: str, operation: str, request: Entry) -> Request:
    """Raises UnknownCallError naming an operation that has no entry."""
    found = OPERATIONS.get((SERVICES.get(service, service), operation))
    if found is None:
        raise UnknownCallError(f"{service} {operation}")
    resources = found.resource(place, request)
    context = found.context(place, request)
    return Request(found.action, (resources,) if isinstance(resources, str) else resources, context)


SERVICES = {"stepfunctions": "states"}
"""IAM's prefix where it is not the service's own name."""


@dataclass(frozen=True)
class Call:
    """One recorded call: `caller` is a function's name (`function x`) or the ARN of the role (`role x`)."""

    caller: str
    request: Request


def calls(journal: Iterable[Entry], account: str) -> list[Call]:
    """Every call of the journal that was made with a role of the templates. Raises UnknownCallError."""
    entries = list(journal)
    group_of = {e["id"]: e["group"] for e in entries if e["kind"] == "instance" and e.get("group")}
    found = [_call(entry, account, group_of) for entry in entries]
    return [call for call in found if call is not None]


def _call(entry: Entry, account: str, group_of: Mapping[str, str]) -> Call | None:
    place = Place(account, entry.get("region", "us-east-1"), group_of)
    if entry["kind"] == "aws_call" and entry["caller"] not in LAB:
        made = as_request(place, entry["service"], entry["operation"], entry["request"])
        return Call(f"function {entry['caller']}", made)
    if entry["kind"] == "service_call":
        made = as_request(place, entry["service"], entry["operation"], entry["request"])
        return Call(f"role {entry['role']}", made)
    if entry["kind"] == "dead_letter" and entry["destination"]:
        made = as_request(place, "sqs", "SendMessage", {"QueueArn": entry["destination"]})
        return Call(f"function {entry['function']}", made)
    return None
