"""Groups and machines in an emulated account, as the templates make them."""

from __future__ import annotations

import json
from typing import Any

from fleet_control.act.aws import client

ROLE = "arn:aws:iam::123456789012:role/machine"
ARN = "arn:aws:states:us-east-1:123456789012:stateMachine:"


def create_group(slug: str = "image-to-video", *, stage: str = "staging", desired: int = 0, **changes: Any) -> str:
    """A group with its launch template; keywords go to the group, `tags` to its tags. Its name."""
    name = f"asg-{stage}-{slug}"
    tags = {"Stage": stage, "WorkflowSlug": slug, "fleet:workflows": slug} | changes.pop("tags", {})
    template = f"lt-{stage}-{slug}"
    if "LaunchTemplate" not in changes:
        create_template(template)
    group: dict[str, Any] = {
        "AutoScalingGroupName": name,
        "LaunchTemplate": {"LaunchTemplateName": template, "Version": "$Latest"},
        "MinSize": 0,
        "MaxSize": 10,
        "DesiredCapacity": desired,
        "AvailabilityZones": ["us-east-1a"],
        "NewInstancesProtectedFromScaleIn": True,
        "Tags": [
            {"Key": key, "Value": value, "PropagateAtLaunch": not key.startswith("fleet:")}
            for key, value in tags.items()
        ],
    }
    client("autoscaling").create_auto_scaling_group(**(group | changes))
    return name


def create_template(name: str) -> None:
    data: Any = {"ImageId": "ami-12c6146b", "InstanceType": "g4dn.xlarge"}
    client("ec2").create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)


def members(group: str) -> list[str]:
    found = client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[group])
    return [instance["InstanceId"] for instance in found["AutoScalingGroups"][0]["Instances"]]


def desired(group: str) -> int:
    found = client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[group])
    return int(found["AutoScalingGroups"][0]["DesiredCapacity"])


def create_machine(name: str = "bp-staging-scale-in") -> str:
    definition = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 60, "End": True}}}
    api = client("stepfunctions")
    return str(api.create_state_machine(name=name, definition=json.dumps(definition), roleArn=ROLE)["stateMachineArn"])


def create_queue(name: str) -> str:
    """Its URL."""
    return str(client("sqs").create_queue(QueueName=name)["QueueUrl"])


def messages(queue: str) -> list[Any]:
    """Bodies of what waits in a queue; at most ten."""
    url = client("sqs").get_queue_url(QueueName=queue)["QueueUrl"]
    found = client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", ())
    return [json.loads(message["Body"]) for message in found]


def executions(arn: str) -> dict[str, Any]:
    """Input by name of every execution that was ever started."""
    api = client("stepfunctions")
    found = api.list_executions(stateMachineArn=arn)["executions"]
    return {e["name"]: json.loads(api.describe_execution(executionArn=e["executionArn"])["input"]) for e in found}
