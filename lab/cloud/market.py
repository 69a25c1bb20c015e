"""The Spot market: where there is capacity, what AWS says where there is none, and who is at risk."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from moto.ec2.models import ec2_backends

from lab.cloud.names import ACCOUNT, REGION

SPOT = "Could not launch Spot Instances."
END = "Launching EC2 instance failed."
REFUSALS = {
    "InsufficientInstanceCapacity": f"{SPOT} InsufficientInstanceCapacity - There is no Spot capacity available that "
    f"matches your request. {END}",
    "UnfulfillableCapacity": f"{SPOT} UnfulfillableCapacity - Unable to fulfill capacity due to your request "
    f"configuration. Please adjust your request and try again. {END}",
    "MaxSpotInstanceCountExceeded": f"{SPOT} MaxSpotInstanceCountExceeded - Max spot instance count exceeded. {END}",
    "VcpuLimitExceeded": "You have requested more vCPU capacity than your current vCPU limit of 0 allows for the "
    "instance bucket that the specified instance type belongs to. Please visit "
    f"http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit. {END}",
    "InvalidAMIID.NotFound": f"The image id '[ami-0123456789abcdef0]' does not exist. {END}",
    "InvalidParameterValue": f"Invalid IAM Instance Profile name. {END}",
}
"""AWS's error code → the words of a scaling activity that failed with it."""


class Market:
    """Who may launch where. `retry_seconds` pass before a group tries again what was refused."""

    def __init__(self, retry_seconds: float) -> None:
        self._retry_seconds = retry_seconds
        self._refused: dict[str, str] = {}
        self._closed: set[str] = set()
        self._not_before: dict[str, float] = {}

    def refuse(self, group: str, code: str) -> None:
        """Every launch of the group fails with this code from now on. Raises KeyError for an unknown one."""
        self._refused[group] = REFUSALS[code]

    def allow(self, group: str) -> None:
        self._refused.pop(group, None)

    def close_zone(self, zone: str) -> None:
        """No capacity there for anybody; a group with another zone launches in that one."""
        self._closed.add(zone)

    def open_zone(self, zone: str) -> None:
        self._closed.discard(zone)

    def tries(self, group: str) -> bool:
        """Whether the group tries to launch at this moment, or still waits after a refusal."""
        return time.monotonic() >= self._not_before.get(group, 0.0)

    def try_at_once(self, group: str) -> None:
        """A new desired capacity is a new attempt."""
        self._not_before.pop(group, None)

    def answer(self, group: Any) -> tuple[str, str]:
        """(subnet, refusal): the open zone with the fewest instances of the group, or why there is none."""
        subnets = self.open_subnets(group)
        refusal = self._refused.get(group.name) or ("" if subnets else REFUSALS["InsufficientInstanceCapacity"])
        if refusal:
            self._not_before[group.name] = time.monotonic() + self._retry_seconds
            return "", refusal
        there = Counter(state.instance.subnet_id for state in group.instance_states)
        return min(subnets, key=lambda subnet: there[subnet]), ""

    def open_subnets(self, group: Any) -> Sequence[str]:
        subnets = str(group.vpc_zone_identifier or "").split(",")
        return [subnet for subnet in subnets if zone_of(subnet) not in self._closed]


def zone_of(subnet_id: str) -> str:
    subnets = ec2_backends[ACCOUNT][REGION].subnets
    found = [zones[subnet_id] for zones in subnets.values() if subnet_id in zones]
    return str(found[0].availability_zone) if found else ""


class Risks:
    """Instances that EC2 recommends to replace, and their replacements."""

    def __init__(self) -> None:
        self._replaced_by: dict[str, str] = {}

    def add(self, instance_id: str) -> None:
        self._replaced_by.setdefault(instance_id, "")

    def replace(self, old: str, new: str) -> None:
        self._replaced_by[old] = new

    def unreplaced(self, there: Iterable[Any]) -> list[str]:
        """Instances in service that wait for their replacement to be launched, in the order of the recommendations."""
        serving = {state.instance_id for state in there if state.lifecycle_state == "InService"}
        launched = {state.instance_id for state in there}
        return [old for old, new in self._replaced_by.items() if old in serving and new not in launched]

    def beside(self, there: Iterable[Any]) -> set[str]:
        """Replacements on their way while the old instance serves: they do not count towards desired."""
        serving = {state.instance_id for state in there if state.lifecycle_state == "InService"}
        return {new for old, new in self._replaced_by.items() if new and old in serving and new not in serving}
