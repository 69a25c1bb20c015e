"""What every function is given: its code, its settings, its log, and a place for what it could not do."""

from typing import Any

import pytest
from fleet_control import settings
from fleet_control.act.aws import client
from fleet_control.settings import Settings

from lab.render import Template

from .conftest import ROOT, properties_of, resolved

SETTINGS: dict[str, type[Settings]] = {
    "reconcile": settings.ReconcileSettings,
    "publish_metrics": settings.PublishMetricsSettings,
    "scale_to_zero": settings.ScaleToZeroSettings,
    "scale_in": settings.ScaleInSettings,
    "spot_interruption": settings.SpotInterruptionSettings,
    "tenant_pool_init": settings.TenantPoolInitSettings,
    "fleet_secret_init": settings.FleetSecretInitSettings,
    "ami_parameter_init": settings.AmiParameterInitSettings,
    "ami_rollout": settings.AmiRolloutSettings,
}


def function(root: Template, folder: str) -> dict[str, Any]:
    name = f"bp-staging-{folder.replace('_', '-')}"
    functions = properties_of(root, "AWS::Lambda::Function").values()
    return next(properties for properties in functions if properties["FunctionName"] == name)


def test_every_function_folder_is_declared_and_nothing_else(root: Template) -> None:
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/app.py")}
    assert folders == SETTINGS.keys()
    assert len(properties_of(root, "AWS::Lambda::Function")) == len(folders)


@pytest.mark.parametrize("folder", SETTINGS)
def test_environment_passes_the_validation_of_the_function(root: Template, folder: str) -> None:
    variables = function(root, folder)["Environment"]["Variables"]
    assert SETTINGS[folder].from_env({k: str(v) for k, v in variables.items()}).stage == "staging"


@pytest.mark.parametrize("folder", SETTINGS)
def test_runs_on_lambda_as_it_is_built(root: Template, folder: str) -> None:
    properties = function(root, folder)
    assert (properties["Runtime"], properties["Handler"]) == ("python3.13", "app.handler")
    assert len(properties["Layers"]) == 2
    # Of the survey each minute only what a machine asked for is traced.
    assert properties["TracingConfig"] == {"Mode": "PassThrough" if folder == "ami_rollout" else "Active"}
    assert properties["VpcConfig"] == {
        "SubnetIds": ["PrivateSubnetA", "PrivateSubnetB"],
        "SecurityGroupIds": ["ControlPlaneSecurityGroup"],
    }


@pytest.mark.parametrize("folder", SETTINGS)
def test_database_is_reached_as_its_own_user_over_verified_tls(root: Template, folder: str) -> None:
    variables = function(root, folder)["Environment"]["Variables"]
    user = "master-credentials" if folder == "tenant_pool_init" else "fleet-control"
    assert variables["DB_SECRET_ID"] == f"/bp/staging/rds/{user}"
    assert variables["DB_CA_FILE"] == "/opt/certificates/rds-ca-bundle.pem"


@pytest.mark.parametrize(("stage", "days"), [("staging", 7), ("production", 30)])
def test_every_log_is_kept_as_long_as_its_stage_says(stage: str, days: int) -> None:
    stacks = resolved(Stage=stage)
    groups = [g for stack in stacks.values() for g in properties_of(stack, "AWS::Logs::LogGroup").values()]
    functions, machines, fleets, services, database = 9, 4, 2, 2, 2
    assert len(groups) == functions + machines + fleets + services + database
    assert {int(group["RetentionInDays"]) for group in groups} == {days}


@pytest.mark.parametrize("folder", SETTINGS)
def test_function_writes_to_a_log_group_of_the_template(root: Template, folder: str) -> None:
    declared = {group["LogGroupName"] for group in properties_of(root, "AWS::Logs::LogGroup").values()}
    properties = function(root, folder)
    assert properties["LoggingConfig"]["LogGroup"] == f"/aws/lambda/{properties['FunctionName']}"
    assert properties["LoggingConfig"]["LogGroup"] in declared


@pytest.mark.parametrize("folder", SETTINGS)
def test_what_a_function_cannot_do_is_kept_with_its_error(root: Template, folder: str) -> None:
    name = function(root, folder)["FunctionName"]
    configs = [c for c in properties_of(root, "AWS::Lambda::EventInvokeConfig").values() if c["FunctionName"] == name]
    assert len(configs) == 1
    assert configs[0]["DestinationConfig"]["OnFailure"]["Destination"].endswith(":bp-staging-failed-invocations")


def test_each_function_has_a_role_of_its_own(root: Template) -> None:
    functions = properties_of(root, "AWS::Lambda::Function").values()
    assert len({properties["Role"] for properties in functions}) == len(functions)


def test_connections_to_the_database_are_bounded(root: Template) -> None:
    readers = [folder for folder, model in SETTINGS.items() if issubclass(model, settings.CommonSettings)]
    reserved = [function(root, folder)["ReservedConcurrentExecutions"] for folder in readers]
    assert sum(reserved) <= 32  # RDS allows 150 in all, and the backend lives there too


def test_an_account_that_cannot_reserve_concurrency_reserves_none() -> None:
    functions = properties_of(resolved(ReserveConcurrency="false")[""], "AWS::Lambda::Function").values()
    assert all("ReservedConcurrentExecutions" not in properties for properties in functions)


def test_custom_resources_give_up_in_minutes(root: Template) -> None:
    custom = [r["Properties"] for r in root.values() if r["Type"].startswith("Custom::")]
    assert [properties["ServiceTimeout"] for properties in custom] == [300, 300]


@pytest.mark.parametrize("folder", SETTINGS)
def test_two_calls_that_nobody_answers_end_before_the_function_is_timed_out(
    root: Template, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    config = client.__wrapped__("autoscaling").meta.config  # not the one that is kept
    attempts = config.retries["total_max_attempts"]
    waits = sum(2**retry for retry in range(attempts - 1))  # the longest of the SDK's standard mode
    budget = attempts * (config.connect_timeout + config.read_timeout) + waits
    assert 2 * budget <= function(root, folder)["Timeout"]
