"""Spot as it really behaves: hooks hold instances back, replacements come first, launches are refused, zones close."""

from __future__ import annotations

import time
from typing import Any

import pytest

from .fleets import GROUP, Fleet, refused
from .waiting import until

HOOK = "drain"


@pytest.fixture
def hooked(fleet: Fleet) -> Fleet:
    hook(fleet, seconds=100)
    return fleet


def hook(of: Fleet, seconds: int) -> None:
    """In the tests one second of a hook is a hundredth."""
    of.api.put_lifecycle_hook(
        AutoScalingGroupName=GROUP,
        LifecycleHookName=HOOK,
        LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING",
        HeartbeatTimeout=seconds,
        DefaultResult="CONTINUE",
    )


def named(instance: str) -> dict[str, str]:
    return {"AutoScalingGroupName": GROUP, "LifecycleHookName": HOOK, "InstanceId": instance}


def terminate(of: Fleet, instance: str) -> None:
    of.api.terminate_instance_in_auto_scaling_group(InstanceId=instance, ShouldDecrementDesiredCapacity=True)


def waiting(of: Fleet) -> dict[str, Any]:
    [detail] = until(lambda: of.details("EC2 Instance-terminate Lifecycle Action"))
    return dict(detail)


def test_an_instance_on_its_way_out_waits_for_its_hook_and_runs_meanwhile(hooked: Fleet) -> None:
    hooked.desire(1)
    [instance] = hooked.in_service(1)
    terminate(hooked, instance)
    assert hooked.states() == {instance: "Terminating:Wait"}
    detail = waiting(hooked)
    assert (detail["EC2InstanceId"], detail["LifecycleHookName"]) == (instance, HOOK)
    assert detail["LifecycleTransition"] == "autoscaling:EC2_INSTANCE_TERMINATING"
    assert hooked.gone == []
    hooked.api.complete_lifecycle_action(**named(instance), LifecycleActionResult="CONTINUE")
    until(lambda: hooked.states() == {} and hooked.gone == [instance])


def test_the_token_answers_as_well_as_the_instance_and_only_once(hooked: Fleet) -> None:
    hooked.desire(1)
    [instance] = hooked.in_service(1)
    terminate(hooked, instance)
    asked = {"AutoScalingGroupName": GROUP, "LifecycleHookName": HOOK, "LifecycleActionResult": "ABANDON"}
    token = waiting(hooked)["LifecycleActionToken"]
    hooked.api.complete_lifecycle_action(**asked, LifecycleActionToken=token)
    again = refused(hooked.api.complete_lifecycle_action, **asked, InstanceId=instance)
    assert again == f"No active Lifecycle Action found with instance ID {instance}"
    assert "No active" in refused(hooked.api.record_lifecycle_action_heartbeat, **named(instance))


def test_a_hook_times_out_and_a_heartbeat_starts_its_time_anew(fleet: Fleet) -> None:
    hook(fleet, seconds=60)
    fleet.desire(1)
    [instance] = fleet.in_service(1)
    terminate(fleet, instance)
    began = time.monotonic()
    for _ in range(3):
        time.sleep(0.35)
        fleet.api.record_lifecycle_action_heartbeat(**named(instance))
    assert fleet.states() == {instance: "Terminating:Wait"}
    until(lambda: fleet.states() == {})
    assert time.monotonic() - began > 1.5
    assert [entry["event"] for entry in fleet.journal("lifecycle")] == ["begun", *["heartbeat"] * 3, "timed_out"]


def test_ec2_does_not_wait_for_a_hook_at_the_end_of_a_notice(hooked: Fleet) -> None:
    hooked.desire(1)
    [instance] = hooked.in_service(1)
    hooked.cloud.groups.interrupt(instance, notice_seconds=0.3)
    assert hooked.states()[instance] == "Terminating:Wait"
    until(lambda: hooked.gone == [instance])
    assert hooked.states()[instance] == "Terminating:Wait"
    until(lambda: instance not in hooked.states())


def test_a_hook_that_is_answered_early_ends_the_instance_before_its_notice(hooked: Fleet) -> None:
    hooked.desire(1)
    [instance] = hooked.in_service(1)
    hooked.cloud.groups.interrupt(instance, notice_seconds=30)
    hooked.api.complete_lifecycle_action(**named(instance), LifecycleActionResult="CONTINUE")
    until(lambda: instance not in hooked.states())
    assert hooked.gone == [instance]


def test_a_health_replacement_fires_the_hook_too(hooked: Fleet) -> None:
    hooked.desire(1)
    [instance] = hooked.in_service(1)
    hooked.cloud.groups.kill(instance)
    assert waiting(hooked)["EC2InstanceId"] == instance
    hooked.in_service(1)


def test_a_recommended_instance_is_replaced_first_and_stays(fleet: Fleet) -> None:
    fleet.desire(3)
    old = fleet.in_service(3)
    for instance in old:
        fleet.cloud.groups.recommend(instance)
    until(lambda: len(fleet.details("EC2 Instance Rebalance Recommendation")) == 3)
    assert set(fleet.in_service(4)) > set(old), "three are the maximum, and one more may stand beside them"
    time.sleep(0.3)
    assert len(fleet.states()) == 4
    assert fleet.group()["DesiredCapacity"] == 3
    for gone, instance in enumerate(old, start=1):
        fleet.api.terminate_instance_in_auto_scaling_group(InstanceId=instance, ShouldDecrementDesiredCapacity=False)
        until(lambda: instance not in fleet.states())  # noqa: B023 - awaited at once
        fleet.in_service(4 if gone < 3 else 3)
    assert not set(old) & set(fleet.states())


def test_a_replacement_that_is_still_pending_does_not_count_as_surplus(fleet: Fleet) -> None:
    fleet.desire(1)
    [old] = fleet.in_service(1)
    fleet.cloud.groups.recommend(old)
    until(lambda: "Pending" in fleet.states().values())
    fleet.cloud.groups.settle(GROUP)
    both = fleet.in_service(2)
    fleet.cloud.groups.interrupt(old, notice_seconds=0.1)
    until(lambda: old not in fleet.states())
    assert set(fleet.states()) == set(both) - {old}, "the replacement stands for it: nothing more is launched"


def test_a_refused_launch_is_a_failed_activity_and_an_event_and_tried_again(fleet: Fleet) -> None:
    fleet.cloud.groups.market.refuse(GROUP, "InsufficientInstanceCapacity")
    fleet.desire(1)
    [first, *_] = until(lambda: fleet.api.describe_scaling_activities(AutoScalingGroupName=GROUP)["Activities"])
    assert (first["StatusCode"], first["Progress"]) == ("Failed", 100)
    assert "InsufficientInstanceCapacity" in first["StatusMessage"]
    assert first["Description"] == f"Launching a new EC2 instance.  Status Reason: {first['StatusMessage']}"
    [detail] = until(lambda: fleet.details("EC2 Instance Launch Unsuccessful"))
    assert (detail["StatusCode"], detail["EC2InstanceId"]) == ("Failed", "")
    assert fleet.states() == {}
    fleet.cloud.groups.market.allow(GROUP)
    fleet.in_service(1)


def test_instances_are_spread_and_a_closed_zone_gets_none(fleet: Fleet) -> None:
    fleet.desire(2)
    fleet.in_service(2)
    zones = {instance["AvailabilityZone"] for instance in fleet.group()["Instances"]}
    assert len(zones) == 2
    closed, open_zone = sorted(zones)
    fleet.cloud.groups.market.close_zone(closed)
    fleet.desire(3)
    fleet.in_service(3)
    assert [i["AvailabilityZone"] for i in fleet.group()["Instances"]].count(open_zone) == 2
