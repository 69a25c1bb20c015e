"""The platform contract, section 5: every name, on both stages. A row reads like a row of its table."""

from typing import Any

import pytest

from lab.render import Template

from .conftest import properties_of, resolved

NAMES = [
    # what, in which stack, type, its name's property, name
    ("RDS master credentials", "Data", "SecretsManager::Secret", "Name", "/bp/<stage>/rds/master-credentials"),
    ("control-plane database user", "Data", "SecretsManager::Secret", "Name", "/bp/<stage>/rds/fleet-control"),
    ("Redis AUTH token", "Data", "SecretsManager::Secret", "Name", "/bp/<stage>/redis/auth-token"),
    ("Laravel APP_KEY", "Data", "SecretsManager::Secret", "Name", "/bp/<stage>/laravel/app-key"),
    ("OAuth secrets", "Data", "SecretsManager::Secret", "Name", "/bp/<stage>/oauth/secrets"),
    ("fleet secret", "", "Custom::FleetSecret", "ParameterName", "/bp/<stage>/fleet-secret"),
    ("Redis endpoint", "Data", "SSM::Parameter", "Name", "/bp/<stage>/redis/endpoint"),
    ("AMI of a workflow", "Fleetfaceswap", "Custom::AmiParameter", "ParameterName", "/bp/<stage>/ami/face-swap"),
    ("group", "Fleetfaceswap", "AutoScaling::AutoScalingGroup", "AutoScalingGroupName", "asg-<stage>-face-swap"),
    ("launch template", "Fleetfaceswap", "EC2::LaunchTemplate", "LaunchTemplateName", "lt-<stage>-face-swap"),
    ("GPU worker logs", "Fleetfaceswap", "Logs::LogGroup", "LogGroupName", "/gpu-workers/<stage>/face-swap"),
    ("ECS cluster", "Compute", "ECS::Cluster", "ClusterName", "bp-<stage>"),
    ("backend service", "Compute", "ECS::Service", "ServiceName", "bp-<stage>-backend"),
    ("frontend service", "Compute", "ECS::Service", "ServiceName", "bp-<stage>-frontend"),
    ("media bucket", "Data", "S3::Bucket", "BucketName", "bp-media-123456789012-<stage>"),
    ("models bucket", "Data", "S3::Bucket", "BucketName", "bp-models-123456789012-<stage>"),
    ("logs bucket", "Data", "S3::Bucket", "BucketName", "bp-logs-123456789012-<stage>"),
    ("topic of the operators", "Signals", "SNS::Topic", "TopicName", "bp-<stage>-ops-alerts"),
    ("topic of empty queues", "Signals", "SNS::Topic", "TopicName", "bp-<stage>-scale-to-zero"),
    ("dashboard", "Monitoring", "CloudWatch::Dashboard", "DashboardName", "bp-<stage>"),
]
IMAGES = {
    "nginx": "bp-backend-<stage>:nginx-v1",
    "php-fpm": "bp-backend-<stage>:php-v1",
    "scheduler": "bp-backend-<stage>:php-v1",
    "queue-worker": "bp-backend-<stage>:php-v1",
    "frontend": "bp-frontend-<stage>:v1",
}


def named(stack: Template, kind: str, key: str) -> set[str]:
    return {p[key] for p in properties_of(stack, kind if "Custom" in kind else f"AWS::{kind}").values()}


@pytest.mark.parametrize("stage", ["staging", "production"])
@pytest.mark.parametrize(("stack", "kind", "key", "name"), [row[1:] for row in NAMES], ids=[row[0] for row in NAMES])
def test_the_name_of(stage: str, stack: str, kind: str, key: str, name: str) -> None:
    assert name.replace("<stage>", stage) in named(resolved(Stage=stage)[stack], kind, key)


@pytest.mark.parametrize("stage", ["staging", "production"])
def test_there_are_no_secrets_and_no_buckets_beyond_these(stage: str) -> None:
    data = resolved(Stage=stage)["Data"]
    assert len(properties_of(data, "AWS::SecretsManager::Secret")) == 5
    assert len(properties_of(data, "AWS::S3::Bucket")) == 3


@pytest.mark.parametrize("stage", ["staging", "production"])
def test_images_come_from_the_stages_repositories(stage: str) -> None:
    tasks = properties_of(resolved(Stage=stage, ImageTag="v1")["Compute"], "AWS::ECS::TaskDefinition").values()
    images = {c["Name"]: c["Image"] for task in tasks for c in task["ContainerDefinitions"]}
    registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com/"
    assert images == {name: registry + image.replace("<stage>", stage) for name, image in IMAGES.items()}


def secret(stack: Template, name: str) -> dict[str, Any]:
    secrets = properties_of(stack, "AWS::SecretsManager::Secret").values()
    return next(s for s in secrets if s["Name"].endswith(name))


@pytest.mark.parametrize("user", ["admin", "fleet_control"])
def test_a_database_secret_has_user_and_password_and_is_told_host_and_port(
    stacks: dict[str, Template], user: str
) -> None:
    name = {"admin": "master-credentials", "fleet_control": "fleet-control"}[user]
    generated = secret(stacks["Data"], name)["GenerateSecretString"]
    assert generated["SecretStringTemplate"] == f'{{"username": "{user}"}}'
    assert generated["GenerateStringKey"] == "password"
    attached = properties_of(stacks["Data"], "AWS::SecretsManager::SecretTargetAttachment").values()
    assert any(
        a["SecretId"].endswith(f"/{name}-AbCdEf") and a["TargetType"] == "AWS::RDS::DBInstance" for a in attached
    )


def test_laravels_key_has_the_32_characters_that_its_cipher_wants(stacks: dict[str, Template]) -> None:
    generated = secret(stacks["Data"], "app-key")["GenerateSecretString"]
    assert generated == {"PasswordLength": 32, "ExcludePunctuation": True}


def test_no_secret_stands_in_a_template(stacks: dict[str, Template]) -> None:
    for properties in properties_of(stacks["Data"], "AWS::SecretsManager::Secret").values():
        assert "SecretString" not in properties
    database, redis = (stacks["Data"][name]["Properties"] for name in ("Database", "Redis"))
    assert database["MasterUserPassword"].startswith("{{resolve:secretsmanager:arn:")
    assert redis["AuthToken"].startswith("{{resolve:secretsmanager:arn:")
