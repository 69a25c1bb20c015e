"""Day two: what an operator may change on a running stage replaces nothing that holds state or that others hold on to.

Which property's change makes CloudFormation replace a resource is told by its own schemas, which cfn-lint carries.
"""

from __future__ import annotations

from functools import cache, reduce
from typing import Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from lab.render import Template

from .conftest import resolved
from .variants import CERTIFICATE, Variant

BIGGER = {
    "DatabaseClass": "db.t4g.large",
    "RedisNodeType": "cache.t4g.medium",
    "RedisReplica": "standby",
    "BackendSize": "2048/4096",
    "FrontendSize": "1024/2048",
    "NatGateways": "2",
    "FleetWorkerLimit": "50",
}
CHANGES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    # what is changed: from, to
    "HTTPS on": ({}, CERTIFICATE),
    "HTTPS off again": (CERTIFICATE, {}),
    "sizes of a large production": ({}, BIGGER),
    "back to small sizes": (BIGGER, {}),
    "Redis with a replica that takes over": ({"RedisReplica": "standby"}, {"RedisReplica": "failover"}),
    "Redis without failover again": ({"RedisReplica": "failover"}, {"RedisReplica": "standby"}),
    "images pushed": ({"ImagesPushed": "false"}, {"ImagesPushed": "true"}),
    "another release": ({"ImageTag": "v1"}, {"ImageTag": "v2"}),
    "load balancer limited to CloudFront": ({}, {"CloudFrontPrefixListId": "pl-3b927c52"}),
    "TLS required of every database client": ({}, {"RequireDatabaseTls": "true"}),
    "flow logs": ({}, {"FlowLogs": "true"}),
    "another first image": ({}, {"FirstImage": "ami-0fedcba9876543210"}),
    "another tick": ({}, {"TickSeconds": "5"}),
    "mail and budget": ({}, {"OpsEmail": "ops@example.com", "MonthlyBudget": "500"}),
}
MAY_GO = {
    # Nothing is lost or broken when one of these is made anew, or goes with its condition.
    "AWS::ApplicationAutoScaling::ScalableTarget",
    "AWS::ApplicationAutoScaling::ScalingPolicy",
    "AWS::Budgets::Budget",
    "AWS::EC2::FlowLog",
    "AWS::EC2::SecurityGroupIngress",
    "AWS::ECS::TaskDefinition",  # a new revision; the services roll over to it
    "AWS::ElasticLoadBalancingV2::ListenerRule",
    "AWS::IAM::Role",  # of flow logs
    "AWS::Lambda::LayerVersion",
    "AWS::Logs::LogGroup",  # of flow logs
    "AWS::SNS::Subscription",
}
GOES_WITH_ITS_CONDITION = {"HttpsListener", "SecondNatGateway", "SecondNatAddress"}
"""Made when switched on, gone when switched off; their like in MAY_GO."""


@cache
def fixed(kind: str) -> tuple[tuple[str, ...], ...]:
    """Paths of the properties whose change replaces a resource of the type, or may."""
    if not kind.startswith("AWS::") or kind == "AWS::CloudFormation::Stack":
        return ()
    schema: dict[str, Any] = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    paths = [*schema.get("createOnlyProperties", []), *schema.get("conditionalCreateOnlyProperties", [])]
    return tuple(tuple(path.split("/")[2:]) for path in paths)


def value_at(properties: Any, path: tuple[str, ...]) -> Any:
    return reduce(lambda node, key: node.get(key) if isinstance(node, dict) else node, path, properties)


def replaced(before: dict[str, Template], after: dict[str, Template]) -> set[str]:
    """What CloudFormation would remove or replace, as stack/logical id and why."""
    found = set()
    for stack, resources in before.items():
        for name, old in resources.items():
            new = after.get(stack, {}).get(name)
            if new is None or new["Type"] != old["Type"]:
                found.add(f"{stack}/{name}: removed")
                continue
            changed = [
                p for p in fixed(old["Type"]) if value_at(old["Properties"], p) != value_at(new["Properties"], p)
            ]
            found |= {f"{stack}/{name}: {'.'.join(path)}" for path in changed}
    return found


NOT_AT_ONCE = {
    # CloudFormation sends these in calls of its own choice; ElastiCache refuses failover where no replica stands yet
    "AWS::ElastiCache::ReplicationGroup": ("NumCacheClusters", "AutomaticFailoverEnabled"),
}


def refused(before: dict[str, Template], after: dict[str, Template]) -> set[str]:
    """What a service takes only one after the other, and this update would change together."""
    return {
        f"{stack}/{name}: {' with '.join(keys)}"
        for stack, resources in before.items()
        for name, old in resources.items()
        if (keys := NOT_AT_ONCE.get(old["Type"]))
        and all(old["Properties"][key] != after[stack][name]["Properties"][key] for key in keys)
    }


def harmful(before: dict[str, Template], after: dict[str, Template]) -> set[str]:
    kinds = {f"{stack}/{name}": r["Type"] for stack, resources in before.items() for name, r in resources.items()}
    return {
        what
        for what in replaced(before, after)
        if kinds[what.split(":")[0]] not in MAY_GO
        and not (what.endswith(": removed") and what.split(":")[0].split("/")[1] in GOES_WITH_ITS_CONDITION)
    }


@pytest.mark.parametrize("stage", ["staging", "production"])
@pytest.mark.parametrize("change", CHANGES)
def test_nothing_that_matters_is_replaced_by(stage: str, change: str) -> None:
    before, after = (resolved(Stage=stage, **parameters) for parameters in CHANGES[change])
    assert before != after
    assert harmful(before, after) == set()
    assert refused(before, after) == set()


@pytest.mark.parametrize("stage", ["staging", "production"])
def test_two_more_workflows_leave_everything_else_where_it_is(
    stage: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("variants")
    before, after = (Variant(folder, stage, https=False, workflows=count).stacks for count in (1, 3))
    assert set(after.keys() - before.keys()) == {"Fleetfaceswap", "Fleetupscale"}
    assert replaced(before, after) == set()


@pytest.mark.parametrize("stage", ["staging", "production"])
def test_the_listener_of_port_80_turns_into_the_redirect_without_being_made_anew(stage: str) -> None:
    before, after = resolved(Stage=stage)["Edge"], resolved(Stage=stage, **CERTIFICATE)["Edge"]
    old, new = before["HttpListener"]["Properties"], after["HttpListener"]["Properties"]
    assert {key for key in old if old[key] != new[key]} == {"DefaultActions"}
    for name in ("LoadBalancer", "BackendTargetGroup", "FrontendTargetGroup"):
        assert before[name] == after[name]


@pytest.mark.parametrize("steps", [("none", "failover"), ("failover", "none")])
def test_a_replica_and_failover_in_one_deployment_are_known_to_be_refused(steps: tuple[str, str]) -> None:
    before, after = (resolved(RedisReplica=step) for step in steps)
    assert refused(before, after) == {"Data/Redis: NumCacheClusters with AutomaticFailoverEnabled"}


def test_other_zones_are_known_to_replace_the_subnets() -> None:
    found = harmful(resolved(), resolved(Zones="us-east-1c,us-east-1f"))
    assert "Network/IsolatedSubnetA: AvailabilityZone" in found


REPLACING = {
    # The comparison itself: that it sees a replacement where there is one.
    "a database's name": ("Data", "Database", "DBInstanceIdentifier"),
    "a bucket's name": ("Data", "MediaBucket", "BucketName"),
    "a secret's name": ("Data", "MasterSecret", "Name"),
    "Redis without encryption": ("Data", "Redis", "AtRestEncryptionEnabled"),
    "a target group's port": ("Edge", "BackendTargetGroup", "Port"),
    "a listener's load balancer": ("Edge", "HttpListener", "LoadBalancerArn"),
    "a subnet's zone": ("Network", "PrivateSubnetA", "AvailabilityZone"),
    "a group's name": ("Fleetfaceswap", "FleetGroup", "AutoScalingGroupName"),
}


@pytest.mark.parametrize("what", REPLACING)
def test_a_replacement_is_seen(stacks: dict[str, Template], what: str) -> None:
    stack, name, key = REPLACING[what]
    resource = stacks[stack][name]
    other = {**resource, "Properties": {**resource["Properties"], key: "another"}}
    after = {**stacks, stack: {**stacks[stack], name: other}}
    assert harmful(stacks, after) == {f"{stack}/{name}: {key}"}


def test_a_renamed_resource_is_seen(stacks: dict[str, Template]) -> None:
    renamed = {("OtherBucket" if name == "MediaBucket" else name): r for name, r in stacks["Data"].items()}
    assert harmful(stacks, {**stacks, "Data": renamed}) == {"Data/MediaBucket: removed"}
