"""Scaling activities: what DescribeScalingActivities tells of each launch and termination."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


def stamp(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Activity:
    """One activity, named as moto's response serializer expects its fields."""

    auto_scaling_group_name: str
    description: str
    cause: str
    details: str = "{}"
    activity_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    start_time: datetime = field(default_factory=lambda: datetime.now(UTC))
    end_time: datetime | None = None
    status_code: str = "InProgress"
    status_message: str = ""
    progress: int = 0

    def finish(self, status: str, message: str = "") -> None:
        self.status_code, self.status_message, self.progress = status, message, 100
        self.end_time = datetime.now(UTC)

    def detail(self) -> dict[str, Any]:
        """The part of an aws.autoscaling event's detail that comes from the activity."""
        return {
            "AutoScalingGroupName": self.auto_scaling_group_name,
            "ActivityId": self.activity_id,
            "Description": self.description,
            "Cause": self.cause,
            "StatusCode": "InProgress" if self.status_code == "Successful" else self.status_code,
            "StatusMessage": self.status_message,
            "StartTime": stamp(self.start_time),
            "EndTime": stamp(self.end_time or datetime.now(UTC)),
        }


def place(instance: Any) -> dict[str, str]:
    return {"Subnet ID": str(instance.subnet_id), "Availability Zone": str(instance.availability_zone)}


class Activities:
    """The activities of all groups, newest first."""

    def __init__(self) -> None:
        self._all: list[Activity] = []
        self._capacity_cause: dict[str, str] = {}

    def note_capacity(self, group: str, before: int, after: int) -> None:
        """Remember why the next launches happen."""
        now = stamp(datetime.now(UTC))
        self._capacity_cause[group] = (
            f"At {now} a user request explicitly set group desired capacity changing the desired capacity "
            f"from {before} to {after}."
        )

    def launching(self, group: str, instance: Any, why: str = "") -> Activity:
        """`why` is what else than the group's capacity asked for it."""
        now = stamp(datetime.now(UTC))
        cause = self._started(group, now)
        if why:
            cause = f"At {now} an instance was started {why}."
        details = json.dumps(place(instance))
        return self._add(Activity(group, f"Launching a new EC2 instance: {instance.id}", cause, details))

    def refused(self, group: str, message: str) -> Activity:
        """A launch that AWS refused: an activity that failed at once, with no instance in it."""
        cause = self._started(group, stamp(datetime.now(UTC)))
        activity = Activity(group, f"Launching a new EC2 instance.  Status Reason: {message}", cause)
        activity.finish("Failed", message)
        return self._add(activity)

    def _started(self, group: str, now: str) -> str:
        cause = self._capacity_cause.get(group, "")
        cause += f" At {now} an instance was started in response to a difference between desired and actual capacity."
        return cause.strip()

    def terminating(self, group: str, instance_id: str, cause: str) -> Activity:
        now = stamp(datetime.now(UTC))
        text = f"At {now} instance {instance_id} was {cause}."
        return self._add(Activity(group, f"Terminating EC2 instance: {instance_id}", text))

    def _add(self, activity: Activity) -> Activity:
        self._all.insert(0, activity)
        return activity

    def describe(self, group: str | None, ids: list[str], limit: int) -> list[Activity]:
        chosen = [a for a in self._all if group in (None, a.auto_scaling_group_name)]
        return [a for a in chosen if not ids or a.activity_id in ids][:limit]
