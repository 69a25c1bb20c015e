"""EC2 Auto Scaling: the groups with their instances and policy tags, and the only calls that change them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from fleet_control.act.activities import Activity, activity
from fleet_control.act.aws import parse_only
from fleet_control.act.blind import blind

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_autoscaling.type_defs import AutoScalingGroupTypeDef

WORKFLOWS_TAG = "fleet:workflows"
TERMINATE_HOOK = "finish-jobs"
"""Name of the terminate lifecycle hook that every group has (stacks/gpu-fleet.yaml)."""

HELD_LAUNCHES = ("Launch", "AddToLoadBalancer")
"""Suspended together they are ours: a group without a load balancer has no use for the second, so that it tells an
operator who has suspended Launch from us who have."""

_GROUP = ("AutoScalingGroupName", "MinSize", "MaxSize", "DesiredCapacity", "ProcessName", "Key", "Value")
_MEMBER = ("InstanceId", "LifecycleState")
_ACTIVITY = ("Description", "Cause", "StartTime", "StatusCode", "StatusMessage")


@dataclass(frozen=True, slots=True)
class GroupInstance:
    """A member as the group sees it. `lifecycle` is its LifecycleState, for instance `Pending` or `InService`."""

    id: str
    lifecycle: str


@dataclass(frozen=True, slots=True)
class Group:
    """One Auto Scaling group. `tags` are its own, the policy among them."""

    name: str
    desired: int
    min_size: int
    max_size: int
    instances: tuple[GroupInstance, ...]
    tags: Mapping[str, str]
    suspended: frozenset[str]

    @property
    def members(self) -> frozenset[str]:
        """Pending and in service: whom the group itself counts against desired."""
        counted = (i for i in self.instances if i.lifecycle.startswith("Pending") or i.lifecycle == "InService")
        return frozenset(instance.id for instance in counted)

    @property
    def launches_held(self) -> bool:
        """By `hold_launches`. An operator suspends Launch alone, or everything."""
        return self.suspended.issuperset(HELD_LAUNCHES) and "Terminate" not in self.suspended

    @property
    def mark_left(self) -> bool:
        """Somebody has resumed Launch alone: what he suspends another day would look like ours."""
        return HELD_LAUNCHES[1] in self.suspended and not self.suspended & {"Launch", "Terminate"}

    @property
    def launches_stopped(self) -> bool:
        """By somebody else: an operator, or AWS, which suspends Launch where launches have been refused for a day."""
        return "Launch" in self.suspended and not self.launches_held

    @property
    def existing(self) -> int:
        return len(self.members)

    @property
    def workflows(self) -> tuple[str, ...]:
        """In the tag's order; one named twice is one, or its jobs would count twice."""
        return tuple(dict.fromkeys(self.tags.get(WORKFLOWS_TAG, "").split()))


class AutoScaling:
    """The groups of one stage.

    Source: EC2 Auto Scaling API reference. Groups come in pages of 100, whatever their number of instances.
    """

    def __init__(self, client: AutoScalingClient, stage: str) -> None:
        self._client = client
        self._prefix = f"asg-{stage}-"
        parse_only(client, "DescribeAutoScalingGroups", *_GROUP, *_MEMBER, "NextToken", "RequestId")
        parse_only(client, "DescribeScalingActivities", *_ACTIVITY, "NextToken", "RequestId")

    def groups(self) -> list[Group]:
        """Every group named `asg-<stage>-…`. Names cannot be edited away; of tags a lost one must hold a fleet, and
        never make it vanish with whatever it is running. Raises Blind when AWS cannot be read."""
        pages = self._client.get_paginator("describe_auto_scaling_groups")
        try:
            raws = [
                raw for page in pages.paginate(PaginationConfig={"PageSize": 100}) for raw in page["AutoScalingGroups"]
            ]
        except (BotoCoreError, ClientError) as error:
            raise blind("autoscaling:DescribeAutoScalingGroups", error) from error
        return [_group(raw) for raw in raws if raw["AutoScalingGroupName"].startswith(self._prefix)]

    def group(self, name: str) -> Group | None:
        """One group by its name, None when there is none. Raises Blind."""
        try:
            answer = self._client.describe_auto_scaling_groups(AutoScalingGroupNames=[name])
        except (BotoCoreError, ClientError) as error:
            raise blind("autoscaling:DescribeAutoScalingGroups", error) from error
        return next((_group(raw) for raw in answer["AutoScalingGroups"]), None)

    def group_of(self, instance_id: str) -> str | None:
        """Name of the stage's group that holds the instance; None when none does. Raises Blind."""
        try:
            answer = self._client.describe_auto_scaling_instances(InstanceIds=[instance_id])
        except (BotoCoreError, ClientError) as error:
            raise blind("autoscaling:DescribeAutoScalingInstances", error) from error
        names = [found["AutoScalingGroupName"] for found in answer["AutoScalingInstances"]]
        return next((name for name in names if name.startswith(self._prefix)), None)

    def activities(self, group: str) -> list[Activity]:
        """The newest hundred, newest first: launches, tried and refused, and terminations. Raises Blind."""
        try:
            answer = self._client.describe_scaling_activities(AutoScalingGroupName=group, MaxRecords=100)
        except (BotoCoreError, ClientError) as error:
            raise blind("autoscaling:DescribeScalingActivities", error) from error
        return [found for found in map(activity, answer["Activities"]) if found is not None]

    def set_desired(self, group: str, desired: int) -> None:
        """Straight there, without cooldown: booting instances are counted by the decision already."""
        self._client.set_desired_capacity(AutoScalingGroupName=group, DesiredCapacity=desired, HonorCooldown=False)

    def suspend_az_rebalance(self, group: str) -> None:
        """Protection does not stop AZRebalance from launching extras."""
        self._client.suspend_processes(AutoScalingGroupName=group, ScalingProcesses=["AZRebalance"])

    def hold_launches(self, group: str) -> None:
        """A group launches for every instance that ends itself, at once and without being asked."""
        self._client.suspend_processes(AutoScalingGroupName=group, ScalingProcesses=list(HELD_LAUNCHES))

    def resume_launches(self, group: str) -> None:
        self._client.resume_processes(AutoScalingGroupName=group, ScalingProcesses=list(HELD_LAUNCHES))

    def terminate(self, instance_id: str, *, decrement: bool) -> bool:
        """Terminate one instance of a group. False when the group does not know it any more.

        The caller has drained it: scale-in protection does not stop this call.
        """
        try:
            self._client.terminate_instance_in_auto_scaling_group(
                InstanceId=instance_id, ShouldDecrementDesiredCapacity=decrement
            )
        except ClientError as error:
            if _is_unknown_instance(error):
                return False
            raise
        return True

    def let_go(self, group: str, instance_id: str) -> bool:
        """CONTINUE to the terminate hook. False when the group does not wait (any more)."""
        return self._tell_hook("complete_lifecycle_action", group, instance_id, LifecycleActionResult="CONTINUE")

    def keep_waiting(self, group: str, instance_id: str) -> bool:
        """Heartbeat: the hook's time-out begins anew. False when the group does not wait (any more)."""
        return self._tell_hook("record_lifecycle_action_heartbeat", group, instance_id)

    def _tell_hook(self, call: str, group: str, instance_id: str, **rest: str) -> bool:
        named = {"LifecycleHookName": TERMINATE_HOOK, "AutoScalingGroupName": group, "InstanceId": instance_id}
        try:
            getattr(self._client, call)(**named, **rest)
        except ClientError as error:
            if _waits_no_more(error):
                return False
            raise
        return True


def _group(raw: AutoScalingGroupTypeDef) -> Group:
    return Group(
        name=raw["AutoScalingGroupName"],
        desired=raw["DesiredCapacity"],
        min_size=raw["MinSize"],
        max_size=raw["MaxSize"],
        instances=tuple(GroupInstance(i["InstanceId"], str(i["LifecycleState"])) for i in raw.get("Instances", ())),
        tags={tag["Key"]: tag.get("Value", "") for tag in raw.get("Tags", ())},
        suspended=frozenset(process["ProcessName"] for process in _suspended(raw)),
    )


def _suspended(raw: AutoScalingGroupTypeDef) -> Sequence[Mapping[str, str]]:
    return raw.get("SuspendedProcesses", ())  # type: ignore[return-value]


def _is_unknown_instance(error: ClientError) -> bool:
    detail = error.response.get("Error", {})
    return detail.get("Code") == "ValidationError" and "not found" in detail.get("Message", "").lower()


def _waits_no_more(error: ClientError) -> bool:
    detail = error.response.get("Error", {})
    return detail.get("Code") == "ValidationError" and "no active lifecycle action" in detail.get("Message", "").lower()
