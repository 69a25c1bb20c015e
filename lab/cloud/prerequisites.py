"""What a stage has before the control plane comes: network, secrets, images."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.cloud.aws import Cloud
from lab.secrecy import marked


@dataclass(frozen=True)
class Network:
    vpc_id: str
    subnet_ids: list[str]
    control_plane_group: str
    gpu_group: str

    def parameters(self) -> dict[str, str]:
        """The template's parameters that name parts of the network."""
        return {
            "VpcId": self.vpc_id,
            "PrivateSubnetIds": ",".join(self.subnet_ids),
            "ControlPlaneSecurityGroupId": self.control_plane_group,
            "GpuSecurityGroupId": self.gpu_group,
        }


def make_network(cloud: Cloud) -> Network:
    ec2 = cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{block}.0/22", AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for block, zone in ((8, "us-east-1a"), (12, "us-east-1b"))
    ]
    control, gpu = (
        ec2.create_security_group(VpcId=vpc, GroupName=name, Description=name)["GroupId"]
        for name in ("control-plane", "gpu")
    )
    return Network(vpc, subnets, control, gpu)


def make_secrets(cloud: Cloud, stage: str, master: Mapping[str, Any]) -> None:
    """The master's credentials, and those of the control plane's own user, whom the first deployment creates."""
    manager = cloud.client("secretsmanager")
    manager.create_secret(Name=f"/bp/{stage}/rds/master-credentials", SecretString=json.dumps(dict(master)))
    own = {**master, "username": "fleet_control", "password": marked()}
    manager.create_secret(Name=f"/bp/{stage}/rds/fleet-control", SecretString=json.dumps(own))


def make_images(cloud: Cloud, stage: str, slugs: Iterable[str]) -> None:
    """One image a workflow; the launch templates look it up by this parameter at each launch."""
    for slug in slugs:
        ship_image(cloud, stage, slug, broken=False)


def ship_image(cloud: Cloud, stage: str, slug: str, *, broken: bool) -> None:
    good, bad = _images(cloud)
    cloud.client("ssm").put_parameter(
        Name=f"/bp/{stage}/ami/{slug}",
        Value=bad if broken else good,
        Type="String",
        DataType="aws:ec2:image",
        Overwrite=True,
    )


def broken_image(cloud: Cloud) -> str:
    """The image on which no worker starts."""
    return _images(cloud)[1]


def _images(cloud: Cloud) -> tuple[str, str]:
    """(a good one, one on which no worker starts)."""
    images = cloud.client("ec2").describe_images(Owners=["amazon"])["Images"]
    good, bad, *_ = [image["ImageId"] for image in images if image["Architecture"] == "x86_64"]
    return good, bad
