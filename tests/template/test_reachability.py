"""Who can open a connection to whom, computed from routes and security groups as EC2 would decide it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import pytest

from lab.render import Template

from .conftest import properties_of, resolved

INTERNET = "internet"
LOOPBACK = "127.0.0.1/32"
PLACES = {
    "load balancer": ("LoadBalancerSecurityGroup", "Public"),
    "backend": ("BackendSecurityGroup", "Private"),
    "frontend": ("FrontendSecurityGroup", "Private"),
    "control plane": ("ControlPlaneSecurityGroup", "Private"),
    "GPU worker": ("GpuSecurityGroup", "Private"),
    "MariaDB": ("DatabaseSecurityGroup", "Isolated"),
    "Redis": ("RedisSecurityGroup", "Isolated"),
}
LISTENS = {"load balancer": (80, 443), "backend": (80,), "frontend": (3000,), "MariaDB": (3306,), "Redis": (6379,)}
PROBED = (22, 80, 443, 3000, 3306, 6379, 8188, 9000)


@dataclass(frozen=True)
class Opening:
    """One rule of a group, in or out: a peer (a group, a prefix list or a CIDR) and a range of ports."""

    peer: str
    first: int
    last: int

    def admits(self, group: str, port: int) -> bool:
        """`group` is a security group, or the internet."""
        if not self.first <= port <= self.last:
            return False
        return self.peer in (group, "0.0.0.0/0")


def opening(rule: dict[str, Any], direction: str) -> Opening:
    peers = (f"{direction}SecurityGroupId", f"{direction}PrefixListId", "CidrIp")
    peer = next(str(rule[key]) for key in peers if key in rule)
    return Opening(peer, int(rule.get("FromPort", 0)), int(rule.get("ToPort", 65_535)))


def openings(network: Template, group: str, kind: str) -> list[Opening]:
    """`kind` is Ingress or Egress; rules within the group and beside it."""
    direction = {"Ingress": "Source", "Egress": "Destination"}[kind]
    inside = network[group]["Properties"].get(f"SecurityGroup{kind}", [])
    beside = properties_of(network, f"AWS::EC2::SecurityGroup{kind}").values()
    return [opening(rule, direction) for rule in [*inside, *(r for r in beside if r["GroupId"] == group)]]


def way_out(network: Template, kind: str) -> set[str]:
    """What the default routes of the subnets of a kind lead to."""
    tables = {
        association["RouteTableId"]
        for association in properties_of(network, "AWS::EC2::SubnetRouteTableAssociation").values()
        if association["SubnetId"].startswith(kind)
    }
    routes = [r for r in properties_of(network, "AWS::EC2::Route").values() if r["RouteTableId"] in tables]
    return {r.get("GatewayId") or r["NatGatewayId"] for r in routes}


def reaches(network: Template, source: str, target: str, port: int) -> bool:
    """Both groups must allow it, and where the internet is one end there must be a route."""
    if source == INTERNET:
        group, subnets = PLACES[target]
        routed = way_out(network, subnets) == {"InternetGateway"}
        return routed and any(o.admits(INTERNET, port) for o in openings(network, group, "Ingress"))
    group, subnets = PLACES[source]
    if target == INTERNET:
        return bool(way_out(network, subnets)) and any(
            o.peer == "0.0.0.0/0" and o.first <= port <= o.last for o in openings(network, group, "Egress")
        )
    peer = PLACES[target][0]
    out = any(o.admits(peer, port) for o in openings(network, group, "Egress"))
    return out and any(o.admits(group, port) for o in openings(network, peer, "Ingress"))


def connections(network: Template, target: str) -> Iterator[tuple[str, int]]:
    for source in (INTERNET, *PLACES):
        yield from ((source, port) for port in PROBED if reaches(network, source, target, port))


@pytest.fixture(scope="session", params=["one NAT", "two NATs"])
def network(request: pytest.FixtureRequest) -> Template:
    return resolved(NatGateways="1" if request.param == "one NAT" else "2")["Network"]


def test_the_internet_reaches_the_load_balancer_and_nothing_else(network: Template) -> None:
    reached = {(place, port) for place in PLACES for port in PROBED if reaches(network, INTERNET, place, port)}
    assert reached == {("load balancer", 80), ("load balancer", 443)}


@pytest.mark.parametrize(
    ("target", "sources"),
    [
        ("backend", {("load balancer", 80)}),
        ("frontend", {("load balancer", 3000)}),
        ("MariaDB", {("backend", 3306), ("control plane", 3306)}),
        ("Redis", {("backend", 6379)}),
        ("GPU worker", set()),
        ("control plane", set()),
    ],
)
def test_only_the_one_before_reaches(network: Template, target: str, sources: set[tuple[str, int]]) -> None:
    assert set(connections(network, target)) == sources


def test_what_is_listened_on_is_reached_by_somebody(network: Template) -> None:
    for place, ports in LISTENS.items():
        assert {port for _, port in connections(network, place)} == set(ports)


def test_isolated_subnets_have_no_route_out(network: Template) -> None:
    assert way_out(network, "Isolated") == set()
    assert not any(reaches(network, place, INTERNET, port) for place in ("MariaDB", "Redis") for port in PROBED)


def test_gpu_workers_reach_80_and_443_and_nothing_else(network: Template) -> None:
    assert openings(network, "GpuSecurityGroup", "Egress") == [
        Opening("0.0.0.0/0", 80, 80),
        Opening("0.0.0.0/0", 443, 443),
    ]
    assert {port for port in PROBED if reaches(network, "GPU worker", INTERNET, port)} == {80, 443}


def test_private_subnets_leave_by_nat_and_public_ones_by_the_gateway(network: Template) -> None:
    assert way_out(network, "Public") == {"InternetGateway"}
    assert way_out(network, "Private") == properties_of(network, "AWS::EC2::NatGateway").keys()


def test_what_holds_data_opens_no_connection(network: Template) -> None:
    for group in ("DatabaseSecurityGroup", "RedisSecurityGroup"):
        assert [o.peer for o in openings(network, group, "Egress")] == [LOOPBACK]


@pytest.mark.parametrize(("https", "port"), [(False, 80), (True, 443)])
@pytest.mark.parametrize("gateways", ["1", "2"])
def test_the_load_balancer_can_be_limited_to_cloudfront_and_our_own_addresses(
    https: bool, port: int, gateways: str
) -> None:
    certificate = {"CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/0a", "DomainName": "a.example.com"}
    changes = {"CloudFrontPrefixListId": "pl-3b927c52", "NatGateways": gateways} | (certificate if https else {})
    network = resolved(**changes)["Network"]
    found = openings(network, "LoadBalancerSecurityGroup", "Ingress")
    nats = ["NatAddress.PublicIp/32", "SecondNatAddress.PublicIp/32"][: int(gateways)]
    assert found == [Opening(peer, port, port) for peer in ("pl-3b927c52", *nats)]  # the list counts as 55 of 60 rules
    assert not reaches(network, INTERNET, "load balancer", port)


def test_subnets_lie_side_by_side_in_the_vpc(network: Template) -> None:
    vpc = ip_network(network["Vpc"]["Properties"]["CidrBlock"])
    blocks = [ip_network(s["CidrBlock"]) for s in properties_of(network, "AWS::EC2::Subnet").values()]
    assert all(block.subnet_of(vpc) for block in blocks)  # type: ignore[arg-type]
    assert not [(a, b) for a in blocks for b in blocks if a is not b and a.overlaps(b)]
    zones = [s["AvailabilityZone"] for s in properties_of(network, "AWS::EC2::Subnet").values()]
    assert sorted(zones) == ["us-east-1a"] * 3 + ["us-east-1b"] * 3


WEARERS = {
    "AWS::ElasticLoadBalancingV2::LoadBalancer": "SecurityGroups",
    "AWS::RDS::DBInstance": "VPCSecurityGroups",
    "AWS::ElastiCache::ReplicationGroup": "SecurityGroupIds",
}


def test_nobody_wears_the_default_security_group(stacks: dict[str, Template]) -> None:
    everything = [(r["Type"], r["Properties"]) for stack in stacks.values() for r in stack.values()]
    worn = [p[WEARERS[kind]] for kind, p in everything if kind in WEARERS]
    worn += [p["VpcConfig"]["SecurityGroupIds"] for kind, p in everything if kind == "AWS::Lambda::Function"]
    tasks = [p["NetworkConfiguration"] for kind, p in everything if kind == "AWS::ECS::Service"]
    worn += [network["AwsvpcConfiguration"]["SecurityGroups"] for network in tasks]
    worn += [
        p["LaunchTemplateData"]["SecurityGroupIds"] for kind, p in everything if kind == "AWS::EC2::LaunchTemplate"
    ]
    assert len(worn) == 3 + 9 + 2 + 2
    assert {group for groups in worn for group in groups} == {group for group, _ in PLACES.values()}
