"""One group in an emulated account, and what the world hears of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lab.cloud import journal as journals
from lab.cloud.aws import Cloud
from lab.cloud.functions import FakeLambda
from lab.cloud.groups import Pace

from .waiting import until

PACE = Pace(settle=0.02, launch=0.15, terminate=0.1, notice_death=0.1, retry=0.3, hooks=0.01)
GROUP = "asg-staging-image-to-video"


class Fleet:
    """One group, and what the world hears of it."""

    def __init__(self, cloud: Cloud, run_dir: Path, heard: list[dict[str, Any]]) -> None:
        self.cloud, self._journal = cloud, run_dir / "journal.jsonl"
        self.api, self.ec2 = cloud.client("autoscaling"), cloud.client("ec2")
        self.heard = heard
        self.running: list[str] = []
        self.gone: list[str] = []
        cloud.groups.on_running = lambda instance, group, tags: self.running.append(instance)
        cloud.groups.on_gone = self.gone.append
        self.warned: list[tuple[str, float]] = []
        cloud.groups.on_warned = lambda instance, seconds: self.warned.append((instance, seconds))
        subnets = self.ec2.describe_subnets()["Subnets"][:2]
        data = {"ImageId": "ami-12345678", "InstanceType": "g4dn.xlarge"}
        self.ec2.create_launch_template(LaunchTemplateName="lt-lab", LaunchTemplateData=data)
        self.api.create_auto_scaling_group(
            AutoScalingGroupName=GROUP,
            MinSize=0,
            MaxSize=3,
            VPCZoneIdentifier=",".join(subnet["SubnetId"] for subnet in subnets),
            NewInstancesProtectedFromScaleIn=True,
            CapacityRebalance=True,
            LaunchTemplate={"LaunchTemplateName": "lt-lab"},
            Tags=[{"Key": "WorkflowSlug", "Value": "image-to-video", "PropagateAtLaunch": True}],
        )

    def desire(self, number: int) -> None:
        self.api.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=number)

    def group(self) -> dict[str, Any]:
        groups = self.api.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"]
        return dict(groups[0])

    def pending(self) -> list[dict[str, Any]]:
        """Members that are pending, as one answer told of them: a moment later they serve."""
        return [one for one in self.group()["Instances"] if one["LifecycleState"] == "Pending"]

    def states(self) -> dict[str, str]:
        return {instance["InstanceId"]: instance["LifecycleState"] for instance in self.group()["Instances"]}

    def in_service(self, number: int) -> list[str]:
        until(lambda: list(self.states().values()).count("InService") == number)
        return [instance for instance, state in self.states().items() if state == "InService"]

    def details(self, detail_type: str) -> list[dict[str, Any]]:
        return [event["detail"] for event in self.heard if event["detail-type"] == detail_type]

    def journal(self, kind: str) -> list[dict[str, Any]]:
        return [entry for entry in journals.read(self._journal) if entry["kind"] == kind]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    heard: list[dict[str, Any]] = []
    with Cloud(tmp_path, FakeLambda({"listener": heard.append}), pace=PACE) as cloud:
        fleet = Fleet(cloud, tmp_path, heard)
        events = cloud.client("events")
        events.put_rule(Name="all", EventPattern='{"source": ["aws.ec2", "aws.autoscaling"]}')
        arn = "arn:aws:lambda:us-east-1:123456789012:function:listener"
        events.put_targets(Rule="all", Targets=[{"Id": "1", "Arn": arn}])
        yield fleet


def refused(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as refusal:
        call(**arguments)
    assert refusal.value.response["Error"]["Code"] == "ValidationError"
    return str(refusal.value.response["Error"]["Message"])
