"""A fleet's policy, read from the tags of its group and validated: one bad value disables its own fleet alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from fleet_control.act.asg import Group
from fleet_control.decide.model import HeldFleet, Policy

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
BelowPickUp = Annotated[float, Field(gt=0, le=80)]
"""A drain without an execution is picked up after 90 s; one that is on its way must have been looked at by then."""
BelowHookLife = Annotated[float, Field(gt=0, le=14_400)]
"""A group waits for its terminate hook a hundred times the hook's time-out of 150 s at most, whatever heartbeats say:
a job that may run longer would go with its instance, by surprise."""


class _Tags(BaseModel):
    """The policy tags; an absent one means the default of the contract (section 7)."""

    model_config = ConfigDict(frozen=True, defer_build=True, extra="ignore")

    workflows: tuple[Slug, ...] = Field(min_length=1)
    backlog_target: int = Field(default=2, ge=1, le=1000)
    idle_seconds: Seconds = 120
    scale_to_zero_minutes: Annotated[float, Field(gt=0, le=1440)] = 15
    warmup_seconds: Seconds = 300
    launch_grace_seconds: Seconds = 300
    silent_seconds: Seconds = 300
    drain_look_seconds: BelowPickUp = 3
    drain_limit_seconds: BelowPickUp = 60
    probe_seconds: Seconds = 600
    job_timeout_seconds: BelowHookLife = 3600
    notice_seconds: Seconds = 120
    end_margin_seconds: Seconds = 15


def read_policies(groups: Iterable[Group]) -> list[tuple[Group, Policy | HeldFleet]]:
    """Every fleet in the order of names. Of two that serve one workflow the second is held: each would launch for the
    whole of its demand."""
    served_by: dict[str, str] = {}
    found: list[tuple[Group, Policy | HeldFleet]] = []
    for group in sorted(groups, key=lambda group: group.name):
        policy = read_policy(group)
        if isinstance(policy, Policy):
            policy = _held_by_rival(group, served_by) or policy
        if isinstance(policy, Policy):
            served_by |= dict.fromkeys(policy.workflows, group.name)
        found.append((group, policy))
    return found


def serving(groups: Iterable[Group], slug: str) -> tuple[Group, Policy | HeldFleet] | None:
    """The fleet of a workflow: the one that serves it, or else one on hold that would. None when nobody does."""
    claims = [(group, policy) for group, policy in read_policies(groups) if slug in group.workflows]
    return min(claims, key=lambda claim: isinstance(claim[1], HeldFleet), default=None)


def _held_by_rival(group: Group, served_by: Mapping[str, str]) -> HeldFleet | None:
    for slug in group.workflows:
        if slug in served_by:
            return _held(group, f"{_tag(group, 'workflows')}: group {served_by[slug]} serves workflow {slug} already")
    return None


def _held(group: Group, fault: str) -> HeldFleet:
    return HeldFleet(group.name, f"group {group.name}: {fault}", group.desired, group.workflows)


def _tag(group: Group, field: str) -> str:
    tag = f"fleet:{field.replace('_', '-')}"
    return f"tag {tag} = {group.tags.get(tag, '')!r}"


def read_policy(group: Group) -> Policy | HeldFleet:
    """The policy, or the fleet on hold with the tag, its value and what is wrong with it."""
    if group.min_size > group.max_size:
        return _held(group, f"MinSize {group.min_size} is above MaxSize {group.max_size}")
    try:
        tags = _Tags.model_validate(_fleet_tags(group))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        return _held(group, f"{_tag(group, str(fault['loc'][0]))}: {fault['msg']}")
    values = tags.model_dump()
    values["scale_to_zero_seconds"] = values.pop("scale_to_zero_minutes") * 60
    return Policy(min_size=group.min_size, max_size=group.max_size, **values)


def unknown_tags(group: Group) -> tuple[str, ...]:
    """Tags that say `fleet:` and nothing that a policy has, in the order of the alphabet."""
    return tuple(sorted(f"fleet:{name.replace('_', '-')}" for name in _fleet_tags(group).keys() - _Tags.model_fields))


def _fleet_tags(group: Group) -> dict[str, object]:
    tags: dict[str, object] = {}
    for key, value in group.tags.items():
        if key.startswith("fleet:"):
            tags[key.removeprefix("fleet:").replace("-", "_")] = value
    tags["workflows"] = group.workflows
    return tags
