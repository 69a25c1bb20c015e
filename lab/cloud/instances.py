"""EC2 instances of the groups: what moto leaves out of them, and what EC2 says of them on the event bus."""

from __future__ import annotations

from typing import Any

from moto.ec2.models.instances import InstanceState
from moto.ssm.models import ssm_backends

from lab.cloud.events import Event, EventBus, event
from lab.cloud.names import ACCOUNT, REGION

STATE_CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48}


def as_spot(group: Any, instance: Any) -> None:
    """What moto leaves out of an instance launched by a mixed instances policy: market, type, and the image's id."""
    instance.lifecycle = "spot"
    policy = group.mixed_instances_policy or {"LaunchTemplate": {}}
    overrides = [override for override in policy["LaunchTemplate"].get("Overrides", []) if override]
    if overrides:
        instance.instance_type = overrides[0]["InstanceType"]
    if str(instance.image_id).startswith("resolve:ssm:"):
        parameter = ssm_backends[ACCOUNT][REGION].get_parameter(instance.image_id.removeprefix("resolve:ssm:"))
        instance.image_id = parameter.value


def instance_arn(instance: Any) -> str:
    return f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{instance.id}"


def change_state(bus: EventBus, instance: Any, name: str) -> None:
    """Put the instance in the state and say so; nothing when it is in it already."""
    if instance.state == name:
        return
    if name == "terminated":
        instance.terminate()
    else:
        instance._state = InstanceState(name, STATE_CODES[name])
    detail = {"instance-id": instance.id, "state": name}
    bus.put(event("aws.ec2", "EC2 Instance State-change Notification", detail, [instance_arn(instance)]))


def interruption_warning(instance: Any) -> Event:
    """The two-minute notice; its resource is named by zone, not by account."""
    detail = {"instance-id": instance.id, "instance-action": "terminate"}
    arn = f"arn:aws:ec2:{instance.availability_zone}:instance/{instance.id}"
    return event("aws.ec2", "EC2 Spot Instance Interruption Warning", detail, [arn])


def rebalance_recommendation(instance: Any) -> Event:
    """EC2 expects to need the instance; sent when it can tell, long before the notice, with it, or never."""
    arn = f"arn:aws:ec2:{instance.availability_zone}:instance/{instance.id}"
    return event("aws.ec2", "EC2 Instance Rebalance Recommendation", {"instance-id": instance.id}, [arn])
