"""The platform contract, section 6: what a stage is made of. One row a fact, with both stages beside each other."""

from functools import reduce
from typing import Any

import pytest

from lab.render import Template

from .conftest import properties_of, resolved

FACTS: list[tuple[str, str, str, Any, Any]] = [
    # fact, stack, resource and path, staging, production
    ("VPC", "Network", "Vpc CidrBlock", "10.0.0.0/16", "10.0.0.0/16"),
    ("public subnet /24", "Network", "PublicSubnetA CidrBlock", "10.0.0.0/24", "10.0.0.0/24"),
    ("public subnet /24", "Network", "PublicSubnetB CidrBlock", "10.0.1.0/24", "10.0.1.0/24"),
    ("private subnet /22", "Network", "PrivateSubnetA CidrBlock", "10.0.8.0/22", "10.0.8.0/22"),
    ("private subnet /22", "Network", "PrivateSubnetB CidrBlock", "10.0.12.0/22", "10.0.12.0/22"),
    ("isolated subnet /24", "Network", "IsolatedSubnetA CidrBlock", "10.0.2.0/24", "10.0.2.0/24"),
    ("isolated subnet /24", "Network", "IsolatedSubnetB CidrBlock", "10.0.3.0/24", "10.0.3.0/24"),
    ("S3 endpoint", "Network", "S3Endpoint VpcEndpointType", "Gateway", "Gateway"),
    ("engine", "Data", "Database Engine", "mariadb", "mariadb"),
    ("engine's version", "Data", "Database EngineVersion", "10.11", "10.11"),
    ("instance class", "Data", "Database DBInstanceClass", "db.t4g.small", "db.t4g.small"),
    ("storage", "Data", "Database StorageType", "gp3", "gp3"),
    ("20 GB of storage", "Data", "Database AllocatedStorage", "20", "20"),
    ("growing to 100 GB", "Data", "Database MaxAllocatedStorage", 100, 100),
    ("storage encrypted", "Data", "Database StorageEncrypted", True, True),
    ("7 days of backups", "Data", "Database BackupRetentionPeriod", 7, 7),
    ("zones of the database", "Data", "Database MultiAZ", False, True),
    ("deletion protection", "Data", "Database DeletionProtection", False, True),
    ("no address of its own", "Data", "Database PubliclyAccessible", False, False),
    ("no Performance Insights", "Data", "Database EnablePerformanceInsights", None, None),
    ("its own parameters", "Data", "Database DBParameterGroupName", "DatabaseParameters", "DatabaseParameters"),
    ("load balancer on the internet", "Edge", "LoadBalancer Scheme", "internet-facing", "internet-facing"),
    ("CloudFront signs", "Edge", "MediaAccessControl OriginAccessControlConfig SigningBehavior", "always", "always"),
    ("central database", "Data", "Database DBName", "bp", "bp"),
    ("Redis", "Data", "Redis EngineVersion", "7.1", "7.1"),
    ("TLS to Redis", "Data", "Redis TransitEncryptionEnabled", True, True),
    ("Redis encrypted", "Data", "Redis AtRestEncryptionEnabled", True, True),
    ("Redis node", "Data", "Redis CacheNodeType", "cache.t4g.micro", "cache.t4g.micro"),
    ("one node", "Data", "Redis NumCacheClusters", 1, 1),
    ("one node cannot fail over", "Data", "Redis AutomaticFailoverEnabled", False, False),
    ("backend's half vCPU", "Compute", "BackendTask Cpu", "512", "512"),
    ("backend's 1 GB", "Compute", "BackendTask Memory", "1024", "1024"),
    ("frontend's quarter vCPU", "Compute", "FrontendTask Cpu", "256", "256"),
    ("frontend's 512 MB", "Compute", "FrontendTask Memory", "512", "512"),
    ("backend on ARM", "Compute", "BackendTask RuntimePlatform CpuArchitecture", "ARM64", "ARM64"),
    ("frontend on ARM", "Compute", "FrontendTask RuntimePlatform CpuArchitecture", "ARM64", "ARM64"),
    ("at least one backend", "Compute", "BackendScalableTarget MinCapacity", 1, 1),
    ("at most four backends", "Compute", "BackendScalableTarget MaxCapacity", 4, 4),
    ("at least one frontend", "Compute", "FrontendScalableTarget MinCapacity", 1, 1),
    ("at most three frontends", "Compute", "FrontendScalableTarget MaxCapacity", 3, 3),
    ("backend's grace", "Compute", "BackendService HealthCheckGracePeriodSeconds", 300, 300),
    ("backend's health", "Edge", "BackendTargetGroup HealthCheckPath", "/up", "/up"),
    ("frontend's health", "Edge", "FrontendTargetGroup HealthCheckPath", "/", "/"),
    ("load balancer protected", "Edge", "LoadBalancer @deletion_protection.enabled", "false", "true"),
    ("price class", "Edge", "Distribution DistributionConfig PriceClass", "PriceClass_100", "PriceClass_100"),
    ("HTTP/2 and 3", "Edge", "Distribution DistributionConfig HttpVersion", "http2and3", "http2and3"),
    ("instance warm-up", "Fleetfaceswap", "FleetGroup DefaultInstanceWarmup", "300", "300"),
    ("fleet starts at zero", "Fleetfaceswap", "FleetGroup MinSize", "0", "0"),
    ("at most ten instances", "Fleetfaceswap", "FleetGroup MaxSize", "10", "10"),
    ("capacity rebalance", "Fleetfaceswap", "FleetGroup CapacityRebalance", True, True),
]
DATA_LIVES = {"staging": "Delete", "production": "Retain"}
BUCKETS = ["MediaBucket", "ModelsBucket", "LogsBucket"]
SECRETS = ["MasterSecret", "FleetControlSecret", "RedisTokenSecret", "AppKeySecret", "OAuthSecret"]
KEPT = ["Database", "Redis", *BUCKETS, *SECRETS]


def step(node: Any, key: str) -> Any:
    """One step of a path: a property, or with @ the attribute of a load balancer by its key."""
    if node is None or not key.startswith("@"):
        return None if node is None else node.get(key)
    return next(a["Value"] for a in node["LoadBalancerAttributes"] if a["Key"] == key.removeprefix("@"))


def at(stack: Template, path: str) -> Any:
    logical_id, *keys = path.split()
    return reduce(step, keys, stack[logical_id]["Properties"])


@pytest.mark.parametrize(
    ("fact", "stack", "path", "staging", "production"), FACTS, ids=[f"{r[0]}: {r[2]}" for r in FACTS]
)
def test_the_fact(fact: str, stack: str, path: str, staging: Any, production: Any) -> None:
    found = {stage: at(resolved(Stage=stage)[stack], path) for stage in ("staging", "production")}
    assert found == {"staging": staging, "production": production}


@pytest.mark.parametrize("stage", DATA_LIVES)
@pytest.mark.parametrize("logical_id", KEPT)
def test_staging_goes_with_its_stack_and_production_stays(stage: str, logical_id: str) -> None:
    resource = resolved(Stage=stage)["Data"][logical_id]
    assert resource["DeletionPolicy"] == DATA_LIVES[stage]


@pytest.mark.parametrize(("stage", "days"), [("staging", 7), ("production", 30)])
def test_every_log_is_kept_as_long_as_the_stage_says(stage: str, days: int) -> None:
    for name, stack in resolved(Stage=stage, FlowLogs="true").items():
        for group in properties_of(stack, "AWS::Logs::LogGroup").values():
            assert (name, group["LogGroupName"], int(group["RetentionInDays"])) == (name, group["LogGroupName"], days)
    expires = [
        r.get("ExpirationInDays") for r in at(resolved(Stage=stage)["Data"], "LogsBucket LifecycleConfiguration Rules")
    ]
    assert [int(found) for found in expires if found] == [days]


@pytest.mark.parametrize("stage", ["staging", "production"])
@pytest.mark.parametrize("logical_id", KEPT)
def test_a_replacement_that_nobody_wanted_leaves_the_old_data_behind(stage: str, logical_id: str) -> None:
    """Not what Redis holds: it comes back by itself."""
    policy = resolved(Stage=stage)["Data"][logical_id]["UpdateReplacePolicy"]
    assert policy == {"Database": "Snapshot", "Redis": "Delete"}.get(logical_id, "Retain")


@pytest.mark.parametrize("stage", ["staging", "production"])
def test_one_nat_gateway_is_the_default(stage: str) -> None:
    assert len(properties_of(resolved(Stage=stage)["Network"], "AWS::EC2::NatGateway")) == 1


@pytest.mark.parametrize("stage", ["staging", "production"])
def test_a_fleet_asks_for_g4dn_then_g5(stage: str) -> None:
    launched = at(resolved(Stage=stage)["Fleetfaceswap"], "FleetGroup MixedInstancesPolicy LaunchTemplate Overrides")
    assert [override["InstanceType"] for override in launched] == ["g4dn.xlarge", "g5.xlarge"]


@pytest.mark.parametrize(
    ("given", "zones"), [("", ["us-east-1a", "us-east-1b"]), ("us-east-1c,us-east-1f", ["us-east-1c", "us-east-1f"])]
)
def test_every_kind_of_subnet_stands_in_both_zones_the_first_two_or_those_given(given: str, zones: list[str]) -> None:
    network = resolved(Zones=given)["Network"]
    for kind in ("Public", "Private", "Isolated"):
        assert [at(network, f"{kind}Subnet{letter} AvailabilityZone") for letter in "AB"] == zones


@pytest.mark.parametrize("count", [1, 2])
def test_nat_gateways_are_one_or_two_by_parameter(count: int) -> None:
    network = resolved(NatGateways=str(count))["Network"]
    gateways = properties_of(network, "AWS::EC2::NatGateway")
    assert len(gateways) == count
    ways_out = {network[f"PrivateRoute{zone}"]["Properties"]["NatGatewayId"] for zone in "AB"}
    assert ways_out == gateways.keys()


def test_no_interface_endpoint_is_paid_for(stacks: dict[str, Template]) -> None:
    endpoints = properties_of(stacks["Network"], "AWS::EC2::VPCEndpoint").values()
    assert [e["VpcEndpointType"] for e in endpoints] == ["Gateway"]
    assert [e["RouteTableIds"] for e in endpoints] == [["PrivateRouteTableA", "PrivateRouteTableB"]]


@pytest.mark.parametrize("size", ["db.t4g.small", "db.t4g.medium", "db.t4g.large"])
def test_the_database_grows_by_parameter(size: str) -> None:
    assert at(resolved(DatabaseClass=size)["Data"], "Database DBInstanceClass") == size


def test_redis_grows_by_parameter() -> None:
    assert at(resolved(RedisNodeType="cache.t4g.small")["Data"], "Redis CacheNodeType") == "cache.t4g.small"


@pytest.mark.parametrize(
    ("replica", "nodes", "takes_over"), [("none", 1, False), ("standby", 2, False), ("failover", 2, True)]
)
def test_redis_has_a_replica_by_parameter_and_by_another_step_fails_over(
    replica: str, nodes: int, takes_over: bool
) -> None:
    data = resolved(RedisReplica=replica)["Data"]
    assert at(data, "Redis NumCacheClusters") == nodes
    assert at(data, "Redis AutomaticFailoverEnabled") is at(data, "Redis MultiAZEnabled") is takes_over


@pytest.mark.parametrize(("required", "value"), [("false", "0"), ("true", "1")])
def test_tls_to_the_database_is_required_of_all_by_parameter(required: str, value: str) -> None:
    parameters = at(resolved(RequireDatabaseTls=required)["Data"], "DatabaseParameters Parameters")
    assert parameters["require_secure_transport"] == value
    assert parameters["character_set_server"] == "utf8mb4"
    assert parameters["collation_server"] == "utf8mb4_unicode_ci"


def test_tasks_grow_by_parameter() -> None:
    compute = resolved(BackendSize="1024/2048", FrontendSize="512/1024")["Compute"]
    found = [at(compute, f"{task} {key}") for task in ("BackendTask", "FrontendTask") for key in ("Cpu", "Memory")]
    assert found == ["1024", "2048", "512", "1024"]


def test_the_media_bucket_takes_uploads_and_forgets_what_was_never_finished(stacks: dict[str, Template]) -> None:
    bucket = stacks["Data"]["MediaBucket"]["Properties"]
    [cors] = bucket["CorsConfiguration"]["CorsRules"]
    assert cors["AllowedMethods"] == ["PUT", "POST"]
    [rule] = bucket["LifecycleConfiguration"]["Rules"]
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert rule["Status"] == "Enabled"
