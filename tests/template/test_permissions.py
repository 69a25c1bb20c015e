"""Least privilege: who may do what, exactly; and who may send to the topics and queues."""

from collections.abc import Iterator
from typing import Any

import pytest
from fleet_control.act.ec2 import REBALANCE_TAG

from lab.render import Template

from .conftest import properties_of

Statement = dict[str, Any]

# Actions for which AWS knows no resource, or (EC2 and Auto Scaling reads) cannot narrow to one.
WITHOUT_RESOURCE = {
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribeAutoScalingInstances",
    "autoscaling:DescribeScalingActivities",
    "cloudwatch:PutMetricData",
    "ec2:DescribeImages",
    "ec2:DescribeInstances",
    "ecr:GetAuthorizationToken",
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
}
MANAGED = {
    "arn:aws:iam::aws:policy/AWSXrayWriteOnlyAccess",
    "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
    "arn:aws:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole",
    "MachineLogDeliveryPolicy",
}
ON_FAILURE, OWN_SECRET = "sqs:SendMessage", "secretsmanager:GetSecretValue"
MAY: dict[str, set[str]] = {
    "ReconcileFunctionRole": {
        ON_FAILURE,
        OWN_SECRET,
        "autoscaling:CompleteLifecycleAction",
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeScalingActivities",
        "autoscaling:RecordLifecycleActionHeartbeat",
        "autoscaling:ResumeProcesses",
        "autoscaling:SetDesiredCapacity",
        "autoscaling:SuspendProcesses",
        "ec2:DescribeInstances",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage",
        "states:ListExecutions",
        "states:StartExecution",
    },
    "PublishMetricsFunctionRole": {
        ON_FAILURE,
        OWN_SECRET,
        "autoscaling:DescribeAutoScalingGroups",
        "cloudwatch:PutMetricData",
    },
    "ScaleToZeroFunctionRole": {
        ON_FAILURE,
        OWN_SECRET,
        "autoscaling:DescribeAutoScalingGroups",
        "states:StartExecution",
    },
    "ScaleInFunctionRole": {
        ON_FAILURE,
        OWN_SECRET,
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:TerminateInstanceInAutoScalingGroup",
    },
    "SpotInterruptionFunctionRole": {
        ON_FAILURE,
        OWN_SECRET,
        "autoscaling:CompleteLifecycleAction",
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeAutoScalingInstances",
        "autoscaling:RecordLifecycleActionHeartbeat",
        "ec2:CreateTags",
        "states:StartExecution",
    },
    "TenantPoolInitFunctionRole": {ON_FAILURE, OWN_SECRET},
    "FleetSecretInitFunctionRole": {ON_FAILURE, "ssm:PutParameter"},
    "AmiParameterInitFunctionRole": {ON_FAILURE, "ec2:DescribeImages", "ssm:GetParameter", "ssm:PutParameter"},
    "AmiRolloutFunctionRole": {
        ON_FAILURE,
        OWN_SECRET,
        "autoscaling:DescribeAutoScalingGroups",
        "ec2:DescribeInstances",
        "ssm:GetParameters",
        "states:ListExecutions",
        "states:StartExecution",
    },
    "AmiRolloutMachineRole": {"lambda:InvokeFunction"},
    "FleetCycleMachineRole": {"lambda:InvokeFunction"},
    "ScaleInMachineRole": {"lambda:InvokeFunction"},
    "SpotInterruptionMachineRole": {"lambda:InvokeFunction"},
    "FleetCycleMachineEveryMinuteRole": {"states:StartExecution"},
}


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def statements(properties: dict[str, Any]) -> Iterator[Statement]:
    """Of a role's inline policies, or of a managed policy."""
    for policy in properties.get("Policies", [properties]):
        if "PolicyDocument" in policy:
            yield from policy["PolicyDocument"]["Statement"]


def identity_policies(stacks: dict[str, Template]) -> Iterator[tuple[str, Statement]]:
    for resources in stacks.values():
        for kind in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy"):
            for name, properties in properties_of(resources, kind).items():
                yield from ((name, statement) for statement in statements(properties))


def resources_of(root: Template, role: str, action: str) -> list[str]:
    found = [s for s in statements(root[role]["Properties"]) if action in as_list(s["Action"])]
    return [resource for statement in found for resource in as_list(statement["Resource"])]


def test_every_role_may_do_exactly_what_its_code_does(root: Template) -> None:
    granted = {
        name: {action for s in statements(properties) for action in as_list(s["Action"])}
        for name, properties in properties_of(root, "AWS::IAM::Role").items()
    }
    assert granted == MAY


def test_no_action_is_a_wildcard(stacks: dict[str, Template]) -> None:
    assert not [(who, a) for who, s in identity_policies(stacks) for a in as_list(s["Action"]) if "*" in a]


def test_any_resource_is_allowed_only_where_aws_knows_none(stacks: dict[str, Template]) -> None:
    broad = [s for _, s in identity_policies(stacks) if "*" in as_list(s["Resource"])]
    assert {action for s in broad for action in as_list(s["Action"])} == WITHOUT_RESOURCE


def test_only_these_managed_policies_are_attached(root: Template) -> None:
    roles = properties_of(root, "AWS::IAM::Role").values()
    assert {policy for role in roles for policy in role.get("ManagedPolicyArns", [])} == MANAGED


def test_metrics_go_to_the_contract_namespace_only(root: Template) -> None:
    policy = [s for s in statements(root["PublishMetricsFunctionRole"]["Properties"]) if "Condition" in s]
    assert [s["Condition"] for s in policy] == [{"StringEquals": {"cloudwatch:namespace": "ComfyUI/Workers"}}]


def test_of_an_instance_only_the_stages_and_of_its_tags_only_one_can_be_set(root: Template) -> None:
    policy = statements(root["SpotInterruptionFunctionRole"]["Properties"])
    [tagging] = [statement for statement in policy if "ec2:CreateTags" in as_list(statement["Action"])]
    assert tagging["Condition"] == {
        "StringEquals": {"aws:ResourceTag/Stage": "staging"},
        "ForAllValues:StringEquals": {"aws:TagKeys": [REBALANCE_TAG]},
    }


@pytest.mark.parametrize(
    ("role", "action", "ends"),
    [
        ("ReconcileFunctionRole", "autoscaling:SetDesiredCapacity", [":autoScalingGroupName/asg-staging-*"]),
        ("ReconcileFunctionRole", "states:StartExecution", [":stateMachine:bp-staging-scale-in"]),
        ("ReconcileFunctionRole", "states:ListExecutions", [":stateMachine:bp-staging-scale-in"]),
        ("ReconcileFunctionRole", "sqs:ReceiveMessage", [":sqs:us-east-1:123456789012:bp-staging-job-nudges"]),
        ("ReconcileFunctionRole", OWN_SECRET, [":secret:/bp/staging/rds/fleet-control-??????"]),
        (
            "ScaleInFunctionRole",
            "autoscaling:TerminateInstanceInAutoScalingGroup",
            [":autoScalingGroupName/asg-staging-*"],
        ),
        ("ReconcileFunctionRole", "autoscaling:CompleteLifecycleAction", [":autoScalingGroupName/asg-staging-*"]),
        (
            "SpotInterruptionFunctionRole",
            "autoscaling:CompleteLifecycleAction",
            [":autoScalingGroupName/asg-staging-*"],
        ),
        ("SpotInterruptionFunctionRole", "ec2:CreateTags", [":instance/*"]),
        ("SpotInterruptionFunctionRole", "states:StartExecution", [":stateMachine:bp-staging-spot-interruption"]),
        (
            "TenantPoolInitFunctionRole",
            OWN_SECRET,
            [
                ":secret:/bp/staging/rds/master-credentials-??????",
                ":secret:/bp/staging/rds/fleet-control-??????",
            ],
        ),
        ("FleetSecretInitFunctionRole", "ssm:PutParameter", [":parameter/bp/staging/fleet-secret"]),
    ],
)
def test_a_permission_reaches_what_it_is_for(root: Template, role: str, action: str, ends: list[str]) -> None:
    reached = resources_of(root, role, action)
    assert len(reached) == len(ends)
    assert all(resource.endswith(end) for resource, end in zip(reached, ends, strict=True))


def test_alarms_can_publish_to_every_encrypted_topic(root: Template) -> None:
    topics = properties_of(root, "AWS::SNS::Topic")
    policies = properties_of(root, "AWS::SNS::TopicPolicy")
    assert {topic["TopicName"] for topic in topics.values()} == {
        "bp-staging-ops-alerts",
        "bp-staging-queue-has-jobs",
        "bp-staging-scale-to-zero",
    }
    for name, topic in topics.items():
        assert topic["KmsMasterKeyId"] == "SignalsKey"
        [statement] = policies[f"{name}Policy"]["PolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        assert [statement["Resource"]] == policies[f"{name}Policy"]["Topics"]
    [_, cloudwatch] = root["SignalsKey"]["Properties"]["KeyPolicy"]["Statement"]
    assert cloudwatch["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert cloudwatch["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]


def test_dead_letter_queues_are_encrypted_and_keep_for_14_days(root: Template) -> None:
    queues = properties_of(root, "AWS::SQS::Queue").values()
    assert [q["QueueName"] for q in queues] == ["bp-staging-failed-invocations", "bp-staging-undelivered-events"]
    assert all(q["SqsManagedSseEnabled"] and q["MessageRetentionPeriod"] == 14 * 86400 for q in queues)


def test_a_worker_reads_its_secret_and_the_models_writes_its_log_and_may_report_its_fleet(
    stacks: dict[str, Template],
) -> None:
    role = stacks["Fleetimagetovideo"]["WorkerRole"]["Properties"]
    granted = {action: s["Resource"] for s in statements(role) for action in as_list(s["Action"])}
    log = "arn:aws:logs:us-east-1:123456789012:log-group:/gpu-workers/staging/image-to-video:*"
    groups = "arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:*:autoScalingGroupName/"
    assert granted == {
        "ssm:GetParameter": "arn:aws:ssm:us-east-1:123456789012:parameter/bp/staging/fleet-secret",
        "s3:ListBucket": "arn:aws:s3:::bp-models-123456789012-staging",
        "s3:GetObject": "arn:aws:s3:::bp-models-123456789012-staging/*",
        "logs:CreateLogStream": log,
        "logs:DescribeLogStreams": log,
        "logs:PutLogEvents": log,
        "autoscaling:SetInstanceHealth": f"{groups}asg-staging-image-to-video",
    }
