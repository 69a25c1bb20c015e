"""The whole platform is really created in the emulated account, from the rendered templates, nested stacks and all."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.request import Request, urlopen

import pytest

from lab.cloud import prerequisites
from lab.cloud.aws import Cloud
from lab.cloud.deploy import Deployment
from lab.cloud.names import REGION
from lab.render import render

ROOT = Path(__file__).parents[2]
DATABASE = {"engine": "mariadb", "host": "127.0.0.1", "port": 3307, "username": "admin", "password": "known"}


class Agreeing:
    """Stands for Lambda: says yes to every custom resource."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def invoke(self, name: str, _: bytes) -> Any:
        raise KeyError(name)

    def invoke_async(self, _: str, payload: bytes) -> None:
        event = json.loads(payload)
        self.asked.append(event)
        answer = Request(event["ResponseURL"], data=json.dumps({"Status": "SUCCESS"}).encode(), method="PUT")  # noqa: S310
        urlopen(answer, timeout=5).close()  # noqa: S310


@pytest.fixture(scope="module")
def lambdas() -> Agreeing:
    return Agreeing()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, lambdas: Agreeing) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("platform")
    with patch.dict(os.environ, {"AWS_DEFAULT_REGION": REGION}), Cloud(folder, functions=lambdas) as cloud:
        parameters = {"Stage": "staging", "FirstImage": prerequisites.publish_image(cloud)}
        template = render(ROOT / "template.yaml", parameters)
        Deployment(cloud, ROOT, {}, DATABASE).create("bp-staging", template, parameters)
        yield cloud


def test_fleets_are_at_zero_in_the_private_subnets(cloud: Cloud) -> None:
    groups = cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert {g["AutoScalingGroupName"]: (g["MinSize"], g["DesiredCapacity"], g["MaxSize"]) for g in groups} == {
        "asg-staging-image-to-video": (0, 0, 10),
        "asg-staging-face-swap": (0, 0, 10),
    }
    subnets = cloud.client("ec2").describe_subnets(SubnetIds=groups[0]["VPCZoneIdentifier"].split(","))["Subnets"]
    assert {subnet["CidrBlock"] for subnet in subnets} == {"10.0.8.0/22", "10.0.12.0/22"}


def test_services_and_their_target_groups_have_one_name(cloud: Cloud) -> None:
    names = ["bp-staging-backend", "bp-staging-frontend"]
    services = cloud.client("ecs").describe_services(cluster="bp-staging", services=names)["services"]
    groups = cloud.client("elbv2").describe_target_groups()["TargetGroups"]
    assert sorted(s["serviceName"] for s in services) == sorted(g["TargetGroupName"] for g in groups) == names


def test_the_database_is_there_and_its_secrets_know_where(cloud: Cloud) -> None:
    [database] = cloud.client("rds").describe_db_instances()["DBInstances"]
    assert (database["DBInstanceIdentifier"], database["DBName"]) == ("bp-staging", "bp")
    secrets = cloud.client("secretsmanager")
    for name, user in (("master-credentials", "admin"), ("fleet-control", "fleet_control")):
        held = json.loads(secrets.get_secret_value(SecretId=f"/bp/staging/rds/{name}")["SecretString"])
        assert (held["username"], held["host"], held["port"]) == (user, "127.0.0.1", 3307)
        assert len(held["password"]) >= 32 or user == "admin"


def test_buckets_have_the_names_that_others_count_on(cloud: Cloud) -> None:
    buckets = {bucket["Name"] for bucket in cloud.client("s3").list_buckets()["Buckets"]}
    assert buckets >= {f"bp-{kind}-123456789012-staging" for kind in ("media", "models", "logs")}


def test_what_only_functions_can_make_is_asked_of_them(cloud: Cloud, lambdas: Agreeing) -> None:
    assert cloud
    asked = {(e["ResourceType"], e["ResourceProperties"].get("ParameterName", "")) for e in lambdas.asked}
    assert asked == {
        ("Custom::TenantPools", ""),
        ("Custom::FleetSecret", "/bp/staging/fleet-secret"),
        ("Custom::AmiParameter", "/bp/staging/ami/image-to-video"),
        ("Custom::AmiParameter", "/bp/staging/ami/face-swap"),
    }
