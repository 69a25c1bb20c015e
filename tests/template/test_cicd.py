"""stacks/cicd.yaml: deployed before anything else, so that images have a place and the pipeline has a role."""

import json
import re
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


def granted(role: dict[str, Any]) -> dict[str, list[str]]:
    return {action: as_list(s["Resource"]) for s in statements(role) for action in as_list(s["Action"])}


def pipeline() -> Template:
    parameters = {"Stage": "staging", "GitHubRepository": "example/bp", "GitHubOidcProviderArn": "arn:oidc"}
    return Stack(render(ROOT / "stacks/pipeline.yaml", parameters), parameters).resources()


def called(script: str) -> set[str]:
    """ECS actions of a script's commands; a waiter asks for what it waits for."""
    commands = re.findall(
        r"aws ecs (wait )?([a-z-]+)", (ROOT / "scripts/pipeline" / script).read_text(encoding="utf-8")
    )
    waited = {"services-stable": "describe-services", "tasks-stopped": "describe-tasks"}
    names = {waited[name] if wait else name for wait, name in commands}
    return {"ecs:" + name.title().replace("-", "") for name in names}


def test_the_pipeline_may_push_and_deploy_and_nothing_else() -> None:
    rights = granted(cicd()["DeployRole"]["Properties"])
    assert {action for action, resources in rights.items() if "*" in resources} == {"ecr:GetAuthorizationToken"}
    assert {action.split(":")[0] for action in rights} == {"ecr", "ecs"}
    assert not [action for action in rights if "*" in action]


@pytest.mark.parametrize(("role", "script"), [("DeployRole", "deploy-services.sh"), ("MigrationsRole", "migrate.sh")])
def test_a_role_may_do_of_ecs_exactly_what_its_script_does(role: str, script: str) -> None:
    properties = (cicd() | pipeline())[role]["Properties"]
    assert {action for action in granted(properties) if action.startswith("ecs:")} == called(script)


def test_the_roles_that_a_migration_passes_are_those_of_the_tasks(stacks: dict[str, Template]) -> None:
    roles = {role["RoleName"] for role in properties_of(stacks["Compute"], "AWS::IAM::Role").values()}
    passed = granted(pipeline()["MigrationsRole"]["Properties"])["iam:PassRole"]
    assert passed == [
        f"arn:aws:iam::123456789012:role/bp-staging-{name}" for name in ("task-execution", "backend-task")
    ]
    assert {arn.rsplit("/", 1)[-1] for arn in passed} <= roles
