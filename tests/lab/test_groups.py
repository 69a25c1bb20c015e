"""Auto Scaling keeps AWS's promises: capacity is recorded, instances follow, protection holds, events tell."""

from __future__ import annotations

import time
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

PACE = Pace(settle=0.02, launch=0.15, terminate=0.1, notice_death=0.1)
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
        subnet = self.ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        data = {"ImageId": "ami-12345678", "InstanceType": "g4dn.xlarge"}
        self.ec2.create_launch_template(LaunchTemplateName="lt-lab", LaunchTemplateData=data)
        self.api.create_auto_scaling_group(
            AutoScalingGroupName=GROUP,
            MinSize=0,
            MaxSize=3,
            VPCZoneIdentifier=subnet,
            NewInstancesProtectedFromScaleIn=True,
            LaunchTemplate={"LaunchTemplateName": "lt-lab"},
            Tags=[{"Key": "WorkflowSlug", "Value": "image-to-video", "PropagateAtLaunch": True}],
        )

    def desire(self, number: int) -> None:
        self.api.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=number)

    def group(self) -> dict[str, Any]:
        groups = self.api.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"]
        return dict(groups[0])

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


def test_capacity_is_only_recorded_and_instances_come_later(fleet: Fleet) -> None:
    fleet.desire(2)
    assert fleet.group()["DesiredCapacity"] == 2
    assert "InService" not in fleet.states().values()
    until(lambda: list(fleet.states().values()) == ["Pending", "Pending"])
    assert not any(instance["ProtectedFromScaleIn"] for instance in fleet.group()["Instances"])
    ids = fleet.in_service(2)
    assert all(instance["ProtectedFromScaleIn"] for instance in fleet.group()["Instances"])
    assert sorted(until(lambda: len(fleet.running) == 2 and fleet.running)) == sorted(ids)


def test_a_number_outside_the_bounds_is_refused(fleet: Fleet) -> None:
    assert "above max value 3" in refused(fleet.api.set_desired_capacity, AutoScalingGroupName=GROUP, DesiredCapacity=4)
    assert "not found" in refused(fleet.api.set_desired_capacity, AutoScalingGroupName="none", DesiredCapacity=1)
    [above, unknown] = [entry for entry in fleet.journal("aws_call") if entry["error"]]
    assert (above["operation"], above["error"]) == ("SetDesiredCapacity", "ValidationError")
    assert above["request"] == {"AutoScalingGroupName": GROUP, "DesiredCapacity": "4"}
    assert unknown["caller"] == "lab"


def test_a_lower_number_cancels_pending_instances_and_spares_protected_ones(fleet: Fleet) -> None:
    fleet.desire(1)
    [kept] = fleet.in_service(1)
    fleet.desire(3)
    until(lambda: list(fleet.states().values()).count("Pending") == 2)
    fleet.desire(0)
    until(lambda: fleet.states() == {kept: "InService"})
    time.sleep(0.3)
    assert fleet.states() == {kept: "InService"}


def test_an_instance_goes_by_name_and_takes_its_capacity_along(fleet: Fleet) -> None:
    fleet.desire(2)
    first, second = fleet.in_service(2)
    fleet.api.terminate_instance_in_auto_scaling_group(InstanceId=first, ShouldDecrementDesiredCapacity=True)
    assert fleet.states()[first] == "Terminating"
    until(lambda: fleet.states() == {second: "InService"})
    assert fleet.group()["DesiredCapacity"] == 1
    assert until(lambda: fleet.gone) == [first]
    [detail] = until(lambda: fleet.details("EC2 Instance Terminate Successful"))
    assert (detail["EC2InstanceId"], detail["AutoScalingGroupName"]) == (first, GROUP)


def test_decrement_at_min_is_refused_and_without_it_the_instance_is_replaced(fleet: Fleet) -> None:
    fleet.desire(1)
    [first] = fleet.in_service(1)
    fleet.desire(0)
    terminate = fleet.api.terminate_instance_in_auto_scaling_group
    assert "desiredSize equals minSize" in refused(terminate, InstanceId=first, ShouldDecrementDesiredCapacity=True)
    assert "Instance Id not found" in refused(terminate, InstanceId="i-0", ShouldDecrementDesiredCapacity=False)
    fleet.desire(1)
    terminate(InstanceId=first, ShouldDecrementDesiredCapacity=False)
    until(lambda: first not in fleet.states())
    [second] = fleet.in_service(1)
    assert second != first


def test_an_interruption_warns_twice_replaces_at_once_and_ends_after_the_notice(fleet: Fleet) -> None:
    fleet.desire(1)
    [old] = fleet.in_service(1)
    fleet.cloud.groups.interrupt(old, notice_seconds=0.6, deliveries=2)
    warnings = until(lambda: len(fleet.details("EC2 Spot Instance Interruption Warning")) == 2) and fleet.details(
        "EC2 Spot Instance Interruption Warning"
    )
    assert warnings == [{"instance-id": old, "instance-action": "terminate"}] * 2
    fleet.in_service(1)
    assert old in fleet.states() and fleet.gone == []
    assert fleet.group()["DesiredCapacity"] == 1
    until(lambda: fleet.gone == [old] and old not in fleet.states())


def test_a_machine_that_dies_is_noticed_and_replaced(fleet: Fleet) -> None:
    fleet.desire(1)
    [old] = fleet.in_service(1)
    fleet.cloud.groups.kill(old)
    assert until(lambda: fleet.gone) == [old]
    [reservation] = fleet.ec2.describe_instances(InstanceIds=[old])["Reservations"]
    assert reservation["Instances"][0]["State"]["Name"] == "terminated"
    until(lambda: old not in fleet.states())
    [new] = fleet.in_service(1)
    until(lambda: len(fleet.details("EC2 Instance State-change Notification")) >= 6)
    told = [
        (detail["instance-id"], detail["state"]) for detail in fleet.details("EC2 Instance State-change Notification")
    ]
    assert {(old, "shutting-down"), (old, "terminated"), (new, "pending"), (new, "running")} <= set(told)


def test_activities_tell_of_launches_newest_first(fleet: Fleet) -> None:
    fleet.desire(1)
    [instance] = fleet.in_service(1)
    fleet.api.terminate_instance_in_auto_scaling_group(InstanceId=instance, ShouldDecrementDesiredCapacity=True)
    until(lambda: not fleet.states())
    ended, launched = fleet.api.describe_scaling_activities(AutoScalingGroupName=GROUP)["Activities"]
    assert launched["Description"] == f"Launching a new EC2 instance: {instance}"
    assert "from 0 to 1" in launched["Cause"]
    assert [ended["StatusCode"], launched["StatusCode"]] == ["Successful", "Successful"]


def test_a_group_with_launching_suspended_launches_nothing(fleet: Fleet) -> None:
    fleet.api.suspend_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["Launch"])
    fleet.desire(2)
    time.sleep(0.2)
    assert fleet.states() == {}
    assert [process["ProcessName"] for process in fleet.group()["SuspendedProcesses"]] == ["Launch"]


def test_an_instance_carries_the_propagated_tags_and_its_launch_time(fleet: Fleet) -> None:
    began = time.time()
    fleet.desire(1)
    [instance] = fleet.in_service(1)
    [reservation] = fleet.ec2.describe_instances(InstanceIds=[instance])["Reservations"]
    [described] = reservation["Instances"]
    tags = {tag["Key"]: tag["Value"] for tag in described["Tags"]}
    assert (tags["WorkflowSlug"], tags["aws:autoscaling:groupName"]) == ("image-to-video", GROUP)
    assert began - 2 < described["LaunchTime"].timestamp() < time.time()
    assert described["InstanceLifecycle"] == "spot"
