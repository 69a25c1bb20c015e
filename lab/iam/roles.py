"""The roles of resolved templates: who wears which, what its policies allow, and who may assume it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from moto.iam.aws_managed_policies import aws_managed_policies_data

from lab.iam import policies
from lab.iam.policies import Rule

Stacks = Mapping[str, Mapping[str, Any]]
"""Resolved resources by logical id, by stack; "" is the root."""

DEPLOYED = re.compile(r"role/.*?(?P<logical>\w+)-[A-Z0-9]{12}$")


@dataclass(frozen=True)
class Role:
    """`name` is its logical id, `stack/logical id` in a nested stack; `managed` are the rules AWS keeps for us."""

    name: str
    trusts: tuple[str, ...]
    own: tuple[Rule, ...]
    managed: tuple[Rule, ...]

    @property
    def rules(self) -> tuple[Rule, ...]:
        return self.own + self.managed


def read_roles(stacks: Stacks) -> dict[str, Role]:
    """Every role of the templates. Raises UnsupportedPolicyError, and KeyError for a policy nobody knows."""
    everywhere = {name: resource for resources in stacks.values() for name, resource in resources.items()}
    return {
        role.name: role
        for stack, resources in stacks.items()
        for logical_id, resource in resources.items()
        if resource["Type"] == "AWS::IAM::Role"
        for role in [_role(f"{stack}/{logical_id}" if stack else logical_id, resource["Properties"], everywhere)]
    }


def _role(name: str, properties: Mapping[str, Any], resources: Mapping[str, Any]) -> Role:
    own = [rule for policy in properties.get("Policies", []) for rule in policies.read(policy["PolicyDocument"])]
    managed: list[Rule] = []
    for arn in properties.get("ManagedPolicyArns", []):
        if arn in resources:
            own += policies.read(resources[arn]["Properties"]["PolicyDocument"])
        else:
            managed += policies.read(aws_managed()[arn.rsplit("/", 1)[-1]]["Document"])
    return Role(name, tuple(_trusted(properties)), tuple(own), tuple(managed))


def _trusted(properties: Mapping[str, Any]) -> Iterator[str]:
    for statement in policies.as_list(properties["AssumeRolePolicyDocument"]["Statement"]):
        yield from policies.as_list(statement["Principal"]["Service"])


@cache
def aws_managed() -> Mapping[str, Any]:
    """AWS's own policies by name, as the emulator carries them."""
    found: Mapping[str, Any] = json.loads(aws_managed_policies_data)
    return found


def wearers(stacks: Stacks) -> dict[str, str]:
    """`function <name>` → the name of its role; and of a role in a nested stack, its logical id → its name."""
    found: dict[str, str] = {}
    for stack, resources in stacks.items():
        below = f"{stack}/" if stack else ""
        for logical_id, resource in resources.items():
            if resource["Type"] == "AWS::Lambda::Function":
                properties = resource["Properties"]
                found[f"function {properties['FunctionName']}"] = below + properties["Role"].rsplit("/", 1)[-1]
            elif resource["Type"] == "AWS::IAM::Role" and below:
                found[logical_id] = below + logical_id
    return found


def role_of(caller: str, wearing: Mapping[str, str]) -> str:
    """The role's name of a call's caller: of a function by its name, otherwise out of a deployed role's ARN."""
    if caller in wearing:
        return wearing[caller]
    match = DEPLOYED.search(caller)
    if match is None:
        raise KeyError(f"nobody knows the role of {caller!r}")
    return wearing.get(match["logical"], match["logical"])
