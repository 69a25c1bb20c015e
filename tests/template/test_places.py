"""The platform contract, section 6: subnets and security group of everything that stands in the network."""

from typing import Any

import pytest

from lab.render import Template

from .conftest import resolved
from .test_reachability import PLACES

FUNCTIONS = "VpcConfig SubnetIds", "VpcConfig SecurityGroupIds"
TASKS = tuple(f"NetworkConfiguration AwsvpcConfiguration {key}" for key in ("Subnets", "SecurityGroups"))
STANDS = [
    # who, stack, resource with its subnets, resource with its security groups
    ("load balancer", "Edge", "LoadBalancer Subnets", "LoadBalancer SecurityGroups"),
    ("backend", "Compute", f"BackendService {TASKS[0]}", f"BackendService {TASKS[1]}"),
    ("frontend", "Compute", f"FrontendService {TASKS[0]}", f"FrontendService {TASKS[1]}"),
    ("control plane", "", f"ReconcileFunction {FUNCTIONS[0]}", f"ReconcileFunction {FUNCTIONS[1]}"),
    ("control plane", "AmiRollout", f"AmiRolloutFunction {FUNCTIONS[0]}", f"AmiRolloutFunction {FUNCTIONS[1]}"),
    (
        "GPU worker",
        "Fleetfaceswap",
        "FleetGroup VPCZoneIdentifier",
        "FleetLaunchTemplate LaunchTemplateData SecurityGroupIds",
    ),
    ("MariaDB", "Data", "DatabaseSubnetGroup SubnetIds", "Database VPCSecurityGroups"),
    ("Redis", "Data", "RedisSubnetGroup SubnetIds", "Redis SecurityGroupIds"),
]


def at(stack: Template, path: str) -> Any:
    name, *keys = path.split()
    found: Any = stack[name]["Properties"]
    for key in keys:
        found = found[key]
    return found


@pytest.mark.parametrize("stage", ["staging", "production"])
@pytest.mark.parametrize(("who", "stack", "subnets", "groups"), STANDS, ids=[f"{r[0]} in {r[1]}" for r in STANDS])
def test_it_stands_where_the_contract_says(stage: str, who: str, stack: str, subnets: str, groups: str) -> None:
    """What is reached from where is computed from these (test_reachability), so they are held here."""
    group, kind = PLACES[who]
    resources = resolved(Stage=stage)[stack]
    assert at(resources, subnets) == [f"{kind}SubnetA", f"{kind}SubnetB"]
    assert at(resources, groups) == [group]


def test_the_data_stands_in_the_isolated_groups(stacks: dict[str, Template]) -> None:
    assert at(stacks["Data"], "Database DBSubnetGroupName") == "DatabaseSubnetGroup"
    assert at(stacks["Data"], "Redis CacheSubnetGroupName") == "RedisSubnetGroup"


def test_nat_gateways_stand_in_the_public_subnets() -> None:
    network = resolved(NatGateways="2")["Network"]
    assert at(network, "NatGateway SubnetId") == "PublicSubnetA"
    assert at(network, "SecondNatGateway SubnetId") == "PublicSubnetB"
