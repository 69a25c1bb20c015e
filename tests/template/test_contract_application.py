"""The platform contract, section 6: the way in, the tasks with all that they are told, and the edge."""

from typing import Any

import pytest

from lab.render import Template

from .conftest import properties_of, resolved

CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/0a1b"
HTTPS = {"CertificateArn": CERTIFICATE, "DomainName": "app.example.com"}
PHP = ("php-fpm", "scheduler", "queue-worker")
COMMANDS = {
    "scheduler": "php artisan schedule:work",
    "queue-worker": "php artisan queue:work --sleep=3 --tries=3 --max-time=3600",
}
ENVIRONMENT = {
    "APP_ENV": "staging",
    "APP_DEBUG": "false",
    "APP_URL": "https://app.example.com",
    "LOG_CHANNEL": "stderr",
    "DB_CONNECTION": "central",
    "CENTRAL_DB_DRIVER": "mariadb",
    "CENTRAL_DB_PORT": "Database.Endpoint.Port",
    "CENTRAL_DB_DATABASE": "bp",
    "TENANT_POOL_1_DB_DRIVER": "mariadb",
    "TENANT_POOL_1_DB_DATABASE": "tenant_pool_1",
    "TENANT_POOL_2_DB_DRIVER": "mariadb",
    "TENANT_POOL_2_DB_DATABASE": "tenant_pool_2",
    "REDIS_HOST": "Redis.PrimaryEndPoint.Address",
    "REDIS_PORT": "Redis.PrimaryEndPoint.Port",
    "REDIS_SCHEME": "tls",
    "CACHE_STORE": "redis",
    "SESSION_DRIVER": "redis",
    "QUEUE_CONNECTION": "database",
    "FILESYSTEM_DISK": "s3",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_BUCKET": "bp-media-123456789012-staging",
}
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:/bp/staging/"
LOGIN = {part.upper(): f"{SECRET}rds/master-credentials-AbCdEf:{part}::" for part in ("host", "username", "password")}
SECRETS = {
    "APP_KEY": f"{SECRET}laravel/app-key-AbCdEf",
    "REDIS_PASSWORD": f"{SECRET}redis/auth-token-AbCdEf",
    "COMFYUI_FLEET_SECRET": "arn:aws:ssm:us-east-1:123456789012:parameter/bp/staging/fleet-secret",
    **{f"{pool}_DB_{k}": v for pool in ("CENTRAL", "TENANT_POOL_1", "TENANT_POOL_2") for k, v in LOGIN.items()},
}
OAUTH = f"{SECRET}oauth/secrets-AbCdEf"


@pytest.fixture(scope="session")
def secure() -> dict[str, Template]:
    return resolved(**HTTPS)


def container(stacks: dict[str, Template], name: str) -> dict[str, Any]:
    tasks = properties_of(stacks["Compute"], "AWS::ECS::TaskDefinition").values()
    return next(c for task in tasks for c in task["ContainerDefinitions"] if c["Name"] == name)


def pairs(listed: list[dict[str, str]], value: str) -> dict[str, str]:
    assert len({item["Name"] for item in listed}) == len(listed)
    return {item["Name"]: item[value] for item in listed}


# ---- Tasks


def test_the_backend_is_four_containers_of_which_two_are_essential(stacks: dict[str, Template]) -> None:
    task = stacks["Compute"]["BackendTask"]["Properties"]
    assert {c["Name"]: c["Essential"] for c in task["ContainerDefinitions"]} == {
        "nginx": True,
        "php-fpm": True,
        "scheduler": False,
        "queue-worker": False,
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_a_helper_runs_its_command_and_is_started_again_when_it_ends(stacks: dict[str, Template], name: str) -> None:
    helper = container(stacks, name)
    assert " ".join(helper["Command"]) == COMMANDS[name]
    assert helper["RestartPolicy"]["Enabled"] is True


@pytest.mark.parametrize("name", PHP)
def test_php_is_told_its_environment(secure: dict[str, Template], name: str) -> None:
    assert pairs(container(secure, name)["Environment"], "Value") == ENVIRONMENT


@pytest.mark.parametrize("name", PHP)
def test_php_is_given_its_secrets(secure: dict[str, Template], name: str) -> None:
    found = pairs(container(secure, name)["Secrets"], "ValueFrom")
    oauth = {key: value for key, value in found.items() if value.startswith(OAUTH)}
    assert {key: value for key, value in found.items() if key not in oauth} == SECRETS
    assert oauth == {key: f"{OAUTH}:{key}::" for key in oauth}
    assert oauth


def test_every_key_that_a_task_asks_of_the_oauth_secret_is_there_from_the_start(secure: dict[str, Template]) -> None:
    asked = {s["Name"] for s in container(secure, "php-fpm")["Secrets"] if s["ValueFrom"].startswith(OAUTH)}
    template = secure["Data"]["OAuthSecret"]["Properties"]["GenerateSecretString"]["SecretStringTemplate"]
    assert all(f'"{key}":' in template for key in asked)


def test_the_frontend_is_told_where_the_api_is(secure: dict[str, Template]) -> None:
    assert pairs(container(secure, "frontend")["Environment"], "Value") == {
        "NODE_ENV": "production",
        "NEXT_PUBLIC_API_URL": "https://app.example.com",
        "HOSTNAME": "0.0.0.0",  # noqa: S104
    }


@pytest.mark.parametrize(("name", "port"), [("nginx", 80), ("frontend", 3000)])
def test_only_the_front_container_has_a_port(stacks: dict[str, Template], name: str, port: int) -> None:
    assert container(stacks, name)["PortMappings"] == [{"ContainerPort": port, "Protocol": "tcp"}]
    assert all("PortMappings" not in container(stacks, php) for php in PHP)


# ---- Services


@pytest.mark.parametrize("name", ["Backend", "Frontend"])
def test_a_service_keeps_one_task_that_stays_and_rolls_back_what_fails(stacks: dict[str, Template], name: str) -> None:
    service = stacks["Compute"][f"{name}Service"]["Properties"]
    providers = {p["CapacityProvider"]: p.get("Base", 0) for p in service["CapacityProviderStrategy"]}
    assert providers == {"FARGATE": 1, "FARGATE_SPOT": 0}
    assert service["DeploymentConfiguration"]["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert service["EnableExecuteCommand"] is True
    network = service["NetworkConfiguration"]["AwsvpcConfiguration"]
    assert network["AssignPublicIp"] == "DISABLED"
    assert network["Subnets"] == ["PrivateSubnetA", "PrivateSubnetB"]


@pytest.mark.parametrize("name", ["Backend", "Frontend"])
def test_a_service_follows_its_cpu(stacks: dict[str, Template], name: str) -> None:
    policy = stacks["Compute"][f"{name}Scaling"]["Properties"]["TargetTrackingScalingPolicyConfiguration"]
    assert policy["TargetValue"] == 70
    metric = policy["PredefinedMetricSpecification"]["PredefinedMetricType"]
    assert metric == "ECSServiceAverageCPUUtilization"


@pytest.mark.parametrize("name", ["Backend", "Frontend"])
def test_without_images_there_are_no_tasks_and_nothing_that_would_start_any(name: str) -> None:
    compute = resolved(ImagesPushed="false")["Compute"]
    assert compute[f"{name}Service"]["Properties"]["DesiredCount"] == 0
    assert f"{name}ScalableTarget" not in compute
    assert f"{name}Scaling" not in compute


@pytest.mark.parametrize("name", ["Backend", "Frontend"])
def test_with_images_a_deployment_leaves_the_number_of_tasks_to_autoscaling(
    stacks: dict[str, Template], name: str
) -> None:
    assert "DesiredCount" not in stacks["Compute"][f"{name}Service"]["Properties"]


def test_tasks_start_only_after_what_they_read_is_made(stacks: dict[str, Template]) -> None:
    assert set(stacks[""]["Compute"]["DependsOn"]) == {"FleetSecret", "TenantPools"}
    assert stacks[""]["TenantPools"]["DependsOn"] == "Data"


# ---- Load balancer


def rules_of(edge: Template) -> dict[str, list[tuple[int, list[str], str]]]:
    """By listener: priority, paths, target group."""
    found: dict[str, list[tuple[int, list[str], str]]] = {}
    for rule in properties_of(edge, "AWS::ElasticLoadBalancingV2::ListenerRule").values():
        [condition], [action] = rule["Conditions"], rule["Actions"]
        target = (rule["Priority"], condition["PathPatternConfig"]["Values"], action["TargetGroupArn"])
        found.setdefault(rule["ListenerArn"], []).append(target)
    return found


PATHS = [(10, ["/api/*", "/sanctum/*", "/up"], "BackendTargetGroup"), (50, ["/*"], "FrontendTargetGroup")]


def test_without_a_certificate_port_80_serves(stacks: dict[str, Template]) -> None:
    listeners = properties_of(stacks["Edge"], "AWS::ElasticLoadBalancingV2::Listener")
    assert {name: (p["Port"], p["Protocol"]) for name, p in listeners.items()} == {"HttpListener": (80, "HTTP")}
    assert rules_of(stacks["Edge"]) == {"HttpListener": PATHS}


def test_with_a_certificate_port_443_serves_and_80_redirects_everything(secure: dict[str, Template]) -> None:
    listeners = properties_of(secure["Edge"], "AWS::ElasticLoadBalancingV2::Listener")
    assert {name: (p["Port"], p["Protocol"]) for name, p in listeners.items()} == {
        "HttpListener": (80, "HTTP"),
        "HttpsListener": (443, "HTTPS"),
    }
    assert rules_of(secure["Edge"]) == {"HttpsListener": PATHS}
    [action] = listeners["HttpListener"]["DefaultActions"]
    assert (action["Type"], action["RedirectConfig"]["Protocol"]) == ("redirect", "HTTPS")
    assert listeners["HttpsListener"]["Certificates"] == [{"CertificateArn": CERTIFICATE}]


# ---- CloudFront


def distribution(stacks: dict[str, Template]) -> dict[str, Any]:
    config: dict[str, Any] = stacks["Edge"]["Distribution"]["Properties"]["DistributionConfig"]
    return config


def test_pages_pass_through_uncached_with_all_that_the_viewer_sent(stacks: dict[str, Template]) -> None:
    behaviour = distribution(stacks)["DefaultCacheBehavior"]
    assert behaviour["TargetOriginId"] == "load-balancer"
    assert behaviour["ViewerProtocolPolicy"] == "redirect-to-https"
    assert set(behaviour["AllowedMethods"]) == {"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"}
    assert behaviour["CachePolicyId"] == "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"  # AWS's CachingDisabled
    assert behaviour["OriginRequestPolicyId"] == "216adef6-5c7f-47e4-b989-5492eafa07d3"  # AWS's AllViewer


def test_finished_videos_are_cached_from_the_bucket_and_only_cloudfront_reads_it(stacks: dict[str, Template]) -> None:
    [behaviour] = distribution(stacks)["CacheBehaviors"]
    assert (behaviour["PathPattern"], behaviour["TargetOriginId"]) == ("/tenants/*", "media")
    assert behaviour["ViewerProtocolPolicy"] == "redirect-to-https"
    assert behaviour["CachePolicyId"] == "658327ea-f89d-4fab-a63d-7e88639e58f6"  # AWS's CachingOptimized
    origin = next(o for o in distribution(stacks)["Origins"] if o["Id"] == "media")
    assert origin["OriginAccessControlId"] == "MediaAccessControl.Id"
    assert origin["DomainName"] == "bp-media-123456789012-staging.s3.us-east-1.amazonaws.com"
    [_, allow] = stacks["Edge"]["MediaBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (allow["Action"], allow["Principal"]) == ("s3:GetObject", {"Service": "cloudfront.amazonaws.com"})
    assert allow["Resource"] == "arn:aws:s3:::bp-media-123456789012-staging/tenants/*"
    assert allow["Condition"] == {
        "StringEquals": {"aws:SourceArn": "arn:aws:cloudfront::123456789012:distribution/Distribution"}
    }


def test_cloudfront_speaks_to_the_load_balancer_as_it_listens(
    stacks: dict[str, Template], secure: dict[str, Template]
) -> None:
    plain, tls = (next(o for o in distribution(s)["Origins"] if o["Id"] == "load-balancer") for s in (stacks, secure))
    assert plain["DomainName"] == "LoadBalancer.DNSName"
    assert plain["CustomOriginConfig"]["OriginProtocolPolicy"] == "http-only"
    assert tls["DomainName"] == "api.app.example.com"
    assert tls["CustomOriginConfig"]["OriginProtocolPolicy"] == "https-only"


def test_the_domain_is_the_distributions_with_a_certificate_of_us_east_1(
    stacks: dict[str, Template], secure: dict[str, Template]
) -> None:
    assert distribution(stacks)["ViewerCertificate"] == {"CloudFrontDefaultCertificate": True}
    assert "Aliases" not in distribution(stacks)
    assert distribution(secure)["Aliases"] == ["app.example.com"]
    assert distribution(secure)["ViewerCertificate"]["AcmCertificateArn"] == CERTIFICATE


@pytest.mark.parametrize(
    ("changes", "url"),
    [
        ({"ApiBaseUrl": ""}, "http://LoadBalancer.DNSName"),
        ({"ApiBaseUrl": "", **HTTPS}, "https://api.app.example.com"),
        ({"ApiBaseUrl": "https://workers.example.com"}, "https://workers.example.com"),
    ],
)
def test_workers_go_past_cloudfront(changes: dict[str, str], url: str) -> None:
    script = resolved(**changes)["Fleetfaceswap"]["FleetLaunchTemplate"]["Properties"]["LaunchTemplateData"]["UserData"]
    assert f"API_BASE_URL={url}\n" in script
