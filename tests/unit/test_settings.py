"""A function that is told something wrong says what, before it does anything."""

import pytest
from fleet_control.errors import BadSettings
from fleet_control.settings import (
    CommonSettings,
    FleetSecretInitSettings,
    ReconcileSettings,
    ScaleInSettings,
    SpotInterruptionSettings,
    environment,
)
from pydantic import ValidationError

ARN = "arn:aws:states:us-east-1:123456789012:stateMachine:bp-staging-scale-in"
COMMON = {"STAGE": "staging", "DB_SECRET_ID": "/bp/staging/rds/fleet-control", "PATH": "/usr/bin"}
QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789012/bp-staging-failed-invocations"
RECONCILE = COMMON | {"SCALE_IN_MACHINE_ARN": ARN, "FLEET_WORKER_LIMIT": "50", "DEAD_LETTERS_URL": QUEUE}


def test_settings_come_from_variables_of_the_same_name() -> None:
    settings = ReconcileSettings.from_env(RECONCILE | {"DB_CA_FILE": "ca.pem"})
    assert settings.model_dump() == {
        "stage": "staging",
        "db_secret_id": "/bp/staging/rds/fleet-control",
        "central_db_name": "bp",
        "metrics_namespace": "ComfyUI/Workers",
        "db_ca_file": "ca.pem",
        "scale_in_machine_arn": ARN,
        "fleet_worker_limit": 50,
        "dead_letters_url": QUEUE,
    }


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("STAGE", "prod"),
        ("DB_SECRET_ID", ""),
        ("CENTRAL_DB_NAME", "bp; DROP"),
        ("SCALE_IN_MACHINE_ARN", "scale-in"),
        ("FLEET_WORKER_LIMIT", "many"),
        ("FLEET_WORKER_LIMIT", "-1"),
        ("DEAD_LETTERS_URL", ""),
    ],
)
def test_a_bad_value_names_its_variable_and_why(variable: str, value: str) -> None:
    with pytest.raises(BadSettings, match=f"{variable}: .+"):
        ReconcileSettings.from_env(RECONCILE | {variable: value})


def test_all_missing_variables_are_named_at_once() -> None:
    with pytest.raises(BadSettings) as caught:
        SpotInterruptionSettings.from_env({})
    assert all(
        f"{name}: Field required" in str(caught.value)
        for name in ("STAGE", "DB_SECRET_ID", "SPOT_INTERRUPTION_MACHINE_ARN")
    )


def test_settings_do_not_change_after_they_were_read() -> None:
    settings = ScaleInSettings.from_env(COMMON)
    with pytest.raises(ValidationError):
        settings.stage = "production"


def test_a_function_without_a_database_needs_no_secret() -> None:
    assert FleetSecretInitSettings.from_env({"STAGE": "production"}).stage == "production"


def test_the_environment_is_read_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in COMMON.items():
        monkeypatch.setenv(name, value)
    assert CommonSettings.from_env(environment()).stage == "staging"
