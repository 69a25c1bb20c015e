"""Auto Scaling keeps AWS's promises: capacity is recorded, instances follow, protection holds, events tell."""

from __future__ import annotations

import time

from .fleets import GROUP, Fleet, refused
from .waiting import until


def test_capacity_is_only_recorded_and_instances_come_later(fleet: Fleet) -> None:
    fleet.desire(2)
    assert fleet.group()["DesiredCapacity"] == 2
    assert "InService" not in fleet.states().values()
    first = until(fleet.pending)
    assert not any(instance["ProtectedFromScaleIn"] for instance in first)
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
    assert fleet.warned == [(old, 0.6)], "its metadata service tells it once, however often the event comes"


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
