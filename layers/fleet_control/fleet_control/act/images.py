"""Machine images: what the fleets' parameters say, and which image each instance was launched from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from fleet_control.act.blind import blind

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import InstanceTypeDef
    from mypy_boto3_ssm import SSMClient

GROUP_TAG = "aws:autoscaling:groupName"
FILTER_VALUES, PARAMETERS = 200, 10
"""DescribeInstances takes at most so many values in one filter, GetParameters so many names."""

_ENDED = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)")


@dataclass(frozen=True, slots=True)
class ParameterImage:
    """The value of a fleet's image parameter, its version, and when that was written (naive UTC)."""

    image: str
    version: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Launch:
    """An instance that a group launched, gone ones of the last hour among them. `why` is the code of its end;
    `ended_at` (naive UTC) is None while it lasts, and where EC2 does not say."""

    id: str
    group: str
    image: str
    launched_at: datetime
    state: str
    why: str = ""
    ended_at: datetime | None = None

    @property
    def is_gone(self) -> bool:
        return self.state in ("shutting-down", "terminated")

    @property
    def taken_by_spot(self) -> bool:
        return self.why.startswith("Server.SpotInstance")


class Images:
    """Sources: Systems Manager API reference, GetParameters; EC2 API reference, DescribeInstances."""

    def __init__(self, ssm: SSMClient, ec2: EC2Client, stage: str) -> None:
        self._ssm, self._ec2 = ssm, ec2
        self._prefix = f"/bp/{stage}/ami/"

    def wanted(self, slugs: Iterable[str]) -> dict[str, ParameterImage]:
        """By slug; those without a parameter are absent. Raises Blind."""
        names = [self._prefix + slug for slug in slugs]
        found: dict[str, ParameterImage] = {}
        for start in range(0, len(names), PARAMETERS):
            try:
                answer = self._ssm.get_parameters(Names=names[start : start + PARAMETERS])
            except (BotoCoreError, ClientError) as error:
                raise blind("ssm:GetParameters", error) from error
            for raw in answer["Parameters"]:
                since = raw["LastModifiedDate"].astimezone(UTC).replace(tzinfo=None)
                slug = raw["Name"].removeprefix(self._prefix)
                found[slug] = ParameterImage(raw["Value"], raw["Version"], since)
        return found

    def launched(self, groups: Iterable[str]) -> list[Launch]:
        """Of these groups, in no order. No call for no groups. Raises Blind."""
        names, found = sorted(groups), []
        for start in range(0, len(names), FILTER_VALUES):
            filters = [{"Name": f"tag:{GROUP_TAG}", "Values": names[start : start + FILTER_VALUES]}]
            pages = self._ec2.get_paginator("describe_instances")
            try:
                for page in pages.paginate(Filters=filters, PaginationConfig={"PageSize": 1000}):  # type: ignore[arg-type]
                    found += [_launch(raw) for held in page["Reservations"] for raw in held["Instances"]]
            except (BotoCoreError, ClientError) as error:
                raise blind("ec2:DescribeInstances", error) from error
        return found


def _launch(raw: InstanceTypeDef) -> Launch:
    tags = {tag["Key"]: tag["Value"] for tag in raw.get("Tags", ())}
    return Launch(
        id=raw["InstanceId"],
        group=tags.get(GROUP_TAG, ""),
        image=raw["ImageId"],
        launched_at=raw["LaunchTime"].astimezone(UTC).replace(tzinfo=None),
        state=str(raw["State"]["Name"]),
        why=raw.get("StateReason", {}).get("Code", ""),
        ended_at=_ended_at(raw.get("StateTransitionReason", "")),
    )


def _ended_at(reason: str) -> datetime | None:
    """Out of `User initiated (2026-01-05 12:00:00 GMT)`: EC2 tells the time of an end nowhere else."""
    found = _ENDED.search(reason)
    return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S") if found else None  # noqa: DTZ007 - naive UTC
