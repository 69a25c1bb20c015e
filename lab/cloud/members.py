"""Groups and their members as moto keeps them, and the time Auto Scaling takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.models import autoscaling_backends

from lab.cloud.instances import as_spot
from lab.cloud.names import ACCOUNT, REGION


@dataclass(frozen=True)
class Pace:
    """Real seconds the emulated service takes for each step."""

    settle: float = 0.2
    look: float = 1.0
    launch: float = 2.0
    terminate: float = 1.0
    notice_death: float = 1.0
    retry: float = 60.0
    hooks: float = 1.0
    """Of a launch that was refused; and, not seconds, what the time-outs of lifecycle hooks are multiplied by."""


def find_group(name: str) -> Any:
    """moto's group of that name. Raises ValidationError when there is none."""
    group = autoscaling_backends[ACCOUNT][REGION].autoscaling_groups.get(name)
    if group is None:
        raise ValidationError(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
    return group


def find_member(instance_id: str) -> tuple[Any, Any]:
    """(group, member) of an instance. Raises ValidationError when no group has it."""
    for group in autoscaling_backends[ACCOUNT][REGION].autoscaling_groups.values():
        for state in group.instance_states:
            if state.instance_id == instance_id:
                return group, state
    raise ValidationError(f"Instance Id not found - No managed instance found for instance ID {instance_id}")


def is_leaving(state: Any) -> bool:
    return str(state.lifecycle_state).startswith("Terminating")


def new_member(group: Any, subnet: str) -> Any:
    """A pending Spot instance; moto always takes the first subnet, so the chosen one is put in front for a moment."""
    subnets = group.vpc_zone_identifier
    group.vpc_zone_identifier = subnet
    group.replace_autoscaling_group_instances(1, group.get_propagated_tags())
    group.vpc_zone_identifier = subnets
    state = group.instance_states[-1]
    state.lifecycle_state, state.protected_from_scale_in = "Pending", False
    as_spot(group, state.instance)
    return state
