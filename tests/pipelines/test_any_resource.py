"""Any resource only where AWS knows none, by AWS's own list of actions: for the pipelines' roles as for all others."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest

from lab.iam.resolve import Stack
from lab.render import Template, render
from tests.template.conftest import ROOT, properties_of, resolved
from tests.template.test_permissions import as_list, identity_policies

PARAMETERS = {"Stage": "staging", "GitHubRepository": "owner/name"}
OIDC = {"GitHubOidcProviderArn": "arn:oidc"}
NARROWED = {"cloudwatch:PutMetricData"}
"""Its resource is a data set, which nobody here has; a condition allows one namespace."""


def alone(name: str, **parameters: str) -> Template:
    given = PARAMETERS | parameters
    return Stack(render(ROOT / f"stacks/{name}.yaml", given), given).resources()


@pytest.fixture(scope="module")
def every() -> dict[str, Template]:
    return resolved() | {"Cicd": alone("cicd"), "Pipeline": alone("pipeline", **OIDC)}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """Of each service its actions and the kinds of resources that they can be limited to, as cfn-lint carries them."""
    text = files("cfnlint.data.AdditionalSpecs").joinpath("Policies.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def kinds(services: dict[str, Any], action: str) -> list[str]:
    service, name = action.split(":")
    known = {key.lower(): value for key, value in services[service]["Actions"].items()}
    return known[name.lower()].get("Resources") or []


def test_any_resource_is_allowed_only_for_actions_that_know_none(
    every: dict[str, Template], services: dict[str, Any]
) -> None:
    broad = {
        (who, action)
        for who, statement in identity_policies(every)
        if "*" in as_list(statement["Resource"])
        for action in as_list(statement["Action"])
    }
    assert {(who, a) for who, a in broad if a not in NARROWED and kinds(services, a)} == set()
    assert {action for _, action in broad} >= {"ec2:DescribeImages", "ecr:GetAuthorizationToken"}


def test_no_action_is_a_wildcard(every: dict[str, Template]) -> None:
    assert [(who, a) for who, s in identity_policies(every) for a in as_list(s["Action"]) if "*" in a] == []


def test_one_role_alone_administers_that_which_deploys_the_templates(every: dict[str, Template]) -> None:
    """They make roles, and whoever makes roles can make an administrator."""
    roles = {name: p for stack in every.values() for name, p in properties_of(stack, "AWS::IAM::Role").items()}
    broad = {n for n, p in roles.items() if any("Administrator" in arn for arn in p.get("ManagedPolicyArns", []))}
    assert broad == {"InfrastructureRole"}
