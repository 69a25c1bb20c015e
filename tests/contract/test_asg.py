"""The groups adapter against emulated EC2 Auto Scaling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.stub import Stubber
from fleet_control.act.activities import activity
from fleet_control.act.asg import AutoScaling, Group, GroupInstance
from fleet_control.errors import Blind

from .account import create_group, create_template, desired, members


@pytest.fixture
def groups(aws: None) -> AutoScaling:
    return AutoScaling(boto3.client("autoscaling"), "staging")


def test_a_group_tells_its_size_its_members_and_its_policy(groups: AutoScaling) -> None:
    name = create_group(desired=2, tags={"fleet:backlog-target": "4"})
    (found,) = groups.groups()
    assert (found.name, found.desired, found.min_size, found.max_size) == (name, 2, 0, 10)
    assert found.instances == tuple(GroupInstance(each, "InService") for each in members(name))
    assert found.workflows == ("image-to-video",)
    assert found.tags["fleet:backlog-target"] == "4"
    assert found.suspended == frozenset()
    assert groups.group(name) == found


def test_only_the_stages_fleets_are_seen(groups: AutoScaling) -> None:
    ours = create_group()
    create_group(stage="production")
    assert [group.name for group in groups.groups()] == [ours]


@pytest.mark.parametrize("lost", ["Stage", "fleet:workflows"])
def test_a_fleet_that_lost_a_tag_is_still_seen(groups: AutoScaling, lost: str) -> None:
    name = create_group(desired=2)
    tag = {"ResourceId": name, "ResourceType": "auto-scaling-group", "Key": lost}
    boto3.client("autoscaling").delete_tags(Tags=[tag])  # type: ignore[list-item]
    (found,) = groups.groups()
    assert (found.name, len(found.instances)) == (name, 2)
    assert lost not in found.tags


def test_more_fleets_than_fit_on_a_page_are_all_seen(groups: AutoScaling) -> None:
    create_template("shared")
    template = {"LaunchTemplateName": "shared", "Version": "$Latest"}
    names = {create_group(f"workflow-{n}", LaunchTemplate=template) for n in range(101)}
    assert {group.name for group in groups.groups()} == names


def test_desired_goes_straight_to_its_number(groups: AutoScaling) -> None:
    name = create_group()
    groups.set_desired(name, 7)
    assert desired(name) == 7


def test_az_rebalance_is_suspended(groups: AutoScaling) -> None:
    name = create_group()
    groups.suspend_az_rebalance(name)
    found = groups.group(name)
    assert found is not None
    assert found.suspended == {"AZRebalance"}


def test_launches_are_held_and_resumed_and_an_operators_suspension_is_another(groups: AutoScaling) -> None:
    name = create_group()

    def held() -> bool:
        found = groups.group(name)
        assert found is not None
        assert found.launches_stopped == ("Launch" in found.suspended and not found.launches_held)
        return found.launches_held

    assert not held()
    groups.hold_launches(name)
    assert held()
    groups.resume_launches(name)
    assert not held()
    autoscaling = boto3.client("autoscaling")
    autoscaling.suspend_processes(AutoScalingGroupName=name, ScalingProcesses=["Launch"])
    assert not held()
    autoscaling.suspend_processes(AutoScalingGroupName=name)
    assert not held(), "everything"


@pytest.mark.parametrize(("decrement", "left"), [(True, 1), (False, 2)])
def test_an_instance_goes_by_name(groups: AutoScaling, decrement: bool, left: int) -> None:
    name = create_group(desired=2)
    gone, stays = members(name)
    assert groups.terminate(gone, decrement=decrement)
    assert desired(name) == left
    assert gone not in members(name)
    assert stays in members(name)


def test_terminating_what_the_group_does_not_know_is_no_error(groups: AutoScaling) -> None:
    with Stubber(groups._client) as aws_answers:
        aws_answers.add_client_error(
            "terminate_instance_in_auto_scaling_group",
            "ValidationError",
            "Instance Id not found - No managed instance found for instance ID i-0a1b2c3d4e5f60718",
        )
        assert not groups.terminate("i-0a1b2c3d4e5f60718", decrement=True)


def test_a_refused_termination_is_an_error(groups: AutoScaling) -> None:
    with Stubber(groups._client) as aws_answers:
        aws_answers.add_client_error(
            "terminate_instance_in_auto_scaling_group", "ScalingActivityInProgress", "an activity is in progress"
        )
        with pytest.raises(ClientError, match="ScalingActivityInProgress"):
            groups.terminate("i-0a1b2c3d4e5f60718", decrement=True)


HOOK = {"LifecycleHookName": "finish-jobs", "AutoScalingGroupName": "asg-staging-x", "InstanceId": "i-1"}
TELLS: dict[str, tuple[Callable[[AutoScaling], bool], dict[str, str]]] = {
    "complete_lifecycle_action": (
        lambda groups: groups.let_go("asg-staging-x", "i-1"),
        {"LifecycleActionResult": "CONTINUE"},
    ),
    "record_lifecycle_action_heartbeat": (lambda groups: groups.keep_waiting("asg-staging-x", "i-1"), {}),
}


@pytest.mark.parametrize("call", TELLS)
def test_a_group_that_waits_is_told_by_hook_and_instance(groups: AutoScaling, call: str) -> None:
    tell, more = TELLS[call]
    with Stubber(groups._client) as aws_answers:
        aws_answers.add_response(call, {}, HOOK | more)
        assert tell(groups)


@pytest.mark.parametrize("call", TELLS)
def test_a_group_that_waits_no_more_is_no_error(groups: AutoScaling, call: str) -> None:
    with Stubber(groups._client) as aws_answers:
        aws_answers.add_client_error(
            call, "ValidationError", "No active Lifecycle Action found with instance ID i-0a1b2c3d4e5f60718"
        )
        assert not TELLS[call][0](groups)


@pytest.mark.parametrize("call", TELLS)
def test_an_answer_that_is_refused_is_an_error(groups: AutoScaling, call: str) -> None:
    with Stubber(groups._client) as aws_answers:
        aws_answers.add_client_error(call, "ResourceContention", "try again")
        with pytest.raises(ClientError, match="ResourceContention"):
            TELLS[call][0](groups)


def test_the_group_of_an_instance(groups: AutoScaling) -> None:
    name = create_group(desired=1)
    (member,) = members(name)
    assert groups.group_of(member) == name
    assert groups.group_of("i-0a1b2c3d4e5f60718") is None


def test_an_instance_of_another_stage_is_none_of_ours(groups: AutoScaling) -> None:
    (member,) = members(create_group(stage="production", desired=1))
    assert groups.group_of(member) is None


def test_a_group_that_is_gone_is_none(groups: AutoScaling) -> None:
    assert groups.group("asg-staging-gone") is None


@pytest.fixture
def away() -> Iterator[AutoScaling]:
    """AWS answers nothing."""
    client = boto3.client("autoscaling", region_name="us-east-1")

    def refuse(**_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://autoscaling.us-east-1.amazonaws.com")

    client.meta.events.register("before-call.auto-scaling", refuse)
    yield AutoScaling(client, "staging")
    client.close()


@pytest.mark.parametrize(
    ("read", "action"),
    [
        (lambda groups: groups.groups(), "DescribeAutoScalingGroups"),
        (lambda groups: groups.group("asg"), "DescribeAutoScalingGroups"),
        (lambda groups: groups.group_of("i-1"), "DescribeAutoScalingInstances"),
    ],
)
def test_groups_that_cannot_be_read_mean_blind(away: AutoScaling, read: Any, action: str) -> None:
    with pytest.raises(Blind, match=f"autoscaling:{action} failed"):
        read(away)


@pytest.mark.parametrize(
    ("lifecycles", "existing"),
    [
        pytest.param(["Pending", "Pending:Wait", "InService"], 3, id="pending ones count, hooks included"),
        pytest.param(["Terminating:Wait", "Terminated", "Standby", "Detaching"], 0, id="going and outside do not"),
    ],
)
def test_what_exists_is_what_the_group_counts(lifecycles: list[str], existing: int) -> None:
    instances = tuple(GroupInstance(f"i-{n}", lifecycle) for n, lifecycle in enumerate(lifecycles))
    assert Group("asg", 1, 0, 10, instances, {}, frozenset()).existing == existing


def test_activities_tell_launches_and_terminations_newest_first(groups: AutoScaling) -> None:
    name = create_group(desired=1)
    answer = {"Activities": [_activity("Terminating EC2 instance: i-0a", "Successful"), _activity(LAUNCH, "Failed")]}
    with Stubber(groups._client) as stub:
        stub.add_response("describe_scaling_activities", answer, {"AutoScalingGroupName": name, "MaxRecords": 100})
        ended, refused = groups.activities(name)
    assert (ended.launches, ended.instance_id, ended.status, ended.at) == (False, "i-0a", "Successful", STARTED)
    assert (refused.launches, refused.instance_id, refused.status) == (True, None, "Failed")
    assert refused.message == "There is no Spot capacity available that matches your request."


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("Launching a new EC2 instance: i-0123abcd", (True, "i-0123abcd")),
        ("Launching a new EC2 instance", (True, None)),
        ("Terminating EC2 instance: i-0123abcd - Waiting For Terminating", (False, "i-0123abcd")),
    ],
)
def test_an_activity_is_a_launch_or_a_termination(description: str, expected: tuple[bool, str | None]) -> None:
    found = activity(_activity(description, "InProgress"))
    assert found is not None
    assert (found.launches, found.instance_id) == expected


def test_other_activities_are_left_out() -> None:
    assert activity(_activity("Updating load balancers/target groups: Successful", "Successful")) is None


def test_activities_that_cannot_be_read_are_told_by_their_permission(groups: AutoScaling) -> None:
    with Stubber(groups._client) as stub:
        stub.add_client_error("describe_scaling_activities", "AccessDenied")
        with pytest.raises(Blind, match="autoscaling:DescribeScalingActivities"):
            groups.activities("asg-staging-x")


LAUNCH = "Launching a new EC2 instance.  Status Reason: There is no Spot capacity available that matches your request."
STARTED = datetime(2026, 1, 5, 12, 0)  # noqa: DTZ001 - naive UTC, as decisions have it


def _activity(description: str, status: str) -> Any:
    return {
        "ActivityId": "1",
        "AutoScalingGroupName": "asg-staging-x",
        "Description": description,
        "Cause": "a user request",
        "StartTime": STARTED.replace(tzinfo=UTC),
        "StatusCode": status,
        "StatusMessage": "There is no Spot capacity available that matches your request.",
    }
