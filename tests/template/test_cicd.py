"""stacks/cicd.yaml: deployed before anything else, so that images have a place and the pipeline has a role."""

import json
from typing import Any

import pytest

from lab.iam.resolve import Stack
from lab.render import Template, render

from .conftest import ROOT, properties_of
from .test_permissions import as_list, statements

OIDC = "token.actions.githubusercontent.com"


def cicd(stage: str = "staging", **changes: str) -> Template:
    parameters = {"Stage": stage, "GitHubRepository": "example/bp"} | changes
    return Stack(render(ROOT / "stacks/cicd.yaml", parameters), parameters).resources()


def kept(repository: dict[str, Any]) -> list[tuple[list[str], int]]:
    rules = json.loads(repository["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
    selections = [rule["selection"] for rule in rules]
    assert {(s["countType"], rule["action"]["type"]) for s, rule in zip(selections, rules, strict=True)} == {
        ("imageCountMoreThan", "expire")
    }
    return [(s.get("tagPrefixList", [s["tagStatus"]]), s["countNumber"]) for s in selections]


@pytest.mark.parametrize("stage", ["staging", "production"])
def test_repositories_keep_the_last_ten_images_of_each_kind(stage: str) -> None:
    repositories = properties_of(cicd(stage), "AWS::ECR::Repository").values()
    assert {repository["RepositoryName"]: kept(repository) for repository in repositories} == {
        f"bp-backend-{stage}": [(["nginx-"], 10), (["php-"], 10), (["untagged"], 10)],
        f"bp-frontend-{stage}": [(["any"], 10)],
    }


@pytest.mark.parametrize("stage", ["staging", "production"])
def test_only_one_repository_and_its_environment_of_the_stage_may_deploy(stage: str) -> None:
    [statement] = cicd(stage)["DeployRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Condition"] == {
        "StringEquals": {f"{OIDC}:aud": "sts.amazonaws.com", f"{OIDC}:sub": f"repo:example/bp:environment:{stage}"}
    }


def test_the_second_stage_of_an_account_uses_the_first_ones_provider() -> None:
    arn = f"arn:aws:iam::123456789012:oidc-provider/{OIDC}"
    second = cicd("production", GitHubOidcProviderArn=arn)
    assert not properties_of(second, "AWS::IAM::OIDCProvider")
    [statement] = second["DeployRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Federated": arn}


def test_the_pipeline_may_push_deploy_and_migrate_and_nothing_else() -> None:
    granted = {
        action: as_list(s["Resource"])
        for s in statements(cicd()["DeployRole"]["Properties"])
        for action in as_list(s["Action"])
    }
    assert {action for action, resources in granted.items() if "*" in resources} == {
        "ecr:GetAuthorizationToken",
        "ecs:DescribeTaskDefinition",
    }
    assert {action.split(":")[0] for action in granted} == {"ecr", "ecs", "iam"}
    assert granted["iam:PassRole"] == [
        "arn:aws:iam::123456789012:role/bp-staging-task-execution",
        "arn:aws:iam::123456789012:role/bp-staging-backend-task",
    ]
    assert not [action for action in granted if "*" in action]


def test_the_roles_that_it_passes_are_those_of_the_tasks(stacks: dict[str, Template]) -> None:
    roles = {role["RoleName"] for role in properties_of(stacks["Compute"], "AWS::IAM::Role").values()}
    assert {"bp-staging-task-execution", "bp-staging-backend-task"} < roles
