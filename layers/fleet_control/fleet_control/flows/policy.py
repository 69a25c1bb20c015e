"""A fleet's policy, read from the tags of its group and validated: one bad value disables its own fleet alone."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from fleet_control.act.asg import Group
from fleet_control.decide.model import HeldFleet, Policy

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class _Tags(BaseModel):
    """The policy tags; an absent one means the default of the contract (section 7)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    workflows: tuple[Slug, ...] = Field(min_length=1)
    backlog_target: int = Field(default=2, ge=1, le=1000)
    idle_seconds: Seconds = 120
    scale_to_zero_minutes: Seconds = 15
    warmup_seconds: Seconds = 300
    launch_grace_seconds: Seconds = 300
    silent_seconds: Seconds = 300
    drain_look_seconds: Seconds = 3
    drain_limit_seconds: Annotated[float, Field(gt=0, le=80)] = 60


def read_policy(group: Group) -> Policy | HeldFleet:
    """The policy, or the fleet on hold with the tag, its value and what is wrong with it."""
    try:
        tags = _Tags.model_validate(_fleet_tags(group))
    except ValidationError as error:
        return HeldFleet(group.name, _explain(group, error), group.desired)
    values = tags.model_dump()
    values["scale_to_zero_seconds"] = values.pop("scale_to_zero_minutes") * 60
    return Policy(min_size=group.min_size, max_size=group.max_size, **values)


def _fleet_tags(group: Group) -> dict[str, object]:
    tags: dict[str, object] = {}
    for key, value in group.tags.items():
        if key.startswith("fleet:"):
            tags[key.removeprefix("fleet:").replace("-", "_")] = value
    tags["workflows"] = group.workflows
    return tags


def _explain(group: Group, error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    tag = f"fleet:{str(fault['loc'][0]).replace('_', '-')}"
    return f"group {group.name}: tag {tag} = {group.tags.get(tag, '')!r}: {fault['msg']}"
