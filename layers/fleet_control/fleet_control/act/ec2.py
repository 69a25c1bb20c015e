"""EC2: what became of instances, and when they were launched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from fleet_control.act.aws import parse_only
from fleet_control.act.blind import blind

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, InstanceTypeDef

FILTER_VALUES = 200
"""DescribeInstances takes at most this many values in one filter."""

REBALANCE_TAG = "fleet:rebalance-recommended"
"""On an instance that EC2 recommends to replace: when it did. EC2 says so in an event and nowhere else."""

NOT_RUNNING = ["pending", "shutting-down", "terminated", "stopping", "stopped"]


@dataclass(frozen=True, slots=True)
class Ec2Instance:
    """`launched_at` is naive UTC; `state` is EC2's name of it (`running`, `shutting-down`, …), `why` the code of its
    last change (`Server.SpotInstanceTermination`, …)."""

    id: str
    state: str
    launched_at: datetime
    why: str = ""

    @property
    def taken_by_spot(self) -> bool:
        return self.why.startswith("Server.SpotInstance")


class Ec2:
    """Source: EC2 API reference, DescribeInstances; terminated instances stay visible for about an hour."""

    def __init__(self, client: EC2Client, stage: str) -> None:
        self._client = client
        self._stage = stage
        parse_only(client, "DescribeInstances", "instanceId", "name", "launchTime", "nextToken", "requestId")

    def not_running(self) -> dict[str, Ec2Instance]:
        """Those launched by the stage's groups that are in any other state than running, by id. Raises Blind.

        An answer is 5 kB an instance: to describe thousands that run, each tick, takes seconds and says nothing.
        """
        return self._described(
            [
                {"Name": "tag:Stage", "Values": [self._stage]},
                {"Name": "tag-key", "Values": ["aws:autoscaling:groupName"]},
                {"Name": "instance-state-name", "Values": NOT_RUNNING},
            ]
        )

    def recommended(self) -> frozenset[str]:
        """Ids of those of the stage's instances that carry a rebalance recommendation. Raises Blind."""
        ours = [{"Name": "tag:Stage", "Values": [self._stage]}, {"Name": "tag-key", "Values": [REBALANCE_TAG]}]
        running = {"Name": "instance-state-name", "Values": ["pending", "running"]}
        return frozenset(self._described([*ours, running]))  # type: ignore[list-item]

    def recommend(self, instance_id: str, at: datetime) -> bool:
        """Keep a rebalance recommendation with its instance. False when EC2 no longer knows it."""
        tag = {"Key": REBALANCE_TAG, "Value": at.isoformat(timespec="seconds")}
        try:
            self._client.create_tags(Resources=[instance_id], Tags=[tag])  # type: ignore[list-item]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "InvalidInstanceID.NotFound":
                return False
            raise
        return True

    def lookup(self, instance_ids: Iterable[str]) -> dict[str, Ec2Instance]:
        """These instances, whoever launched them; unknown ids are absent. No call for no ids. Raises Blind."""
        found: dict[str, Ec2Instance] = {}
        ids = sorted(set(instance_ids))
        for start in range(0, len(ids), FILTER_VALUES):
            found |= self._described([{"Name": "instance-id", "Values": ids[start : start + FILTER_VALUES]}])
        return found

    def _described(self, filters: Sequence[FilterTypeDef]) -> dict[str, Ec2Instance]:
        pages = self._client.get_paginator("describe_instances")
        try:
            found = pages.paginate(Filters=filters, PaginationConfig={"PageSize": 1000})
            raws = [raw for page in found for held in page["Reservations"] for raw in held["Instances"]]
        except (BotoCoreError, ClientError) as error:
            raise blind("ec2:DescribeInstances", error) from error
        return {one.id: one for one in map(_instance, raws)}


def _instance(raw: InstanceTypeDef) -> Ec2Instance:
    launched = raw["LaunchTime"].astimezone(UTC).replace(tzinfo=None)
    why = raw.get("StateReason", {}).get("Code", "")
    return Ec2Instance(raw["InstanceId"], str(raw["State"]["Name"]), launched, why)
