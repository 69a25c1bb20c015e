"""Secrets Manager and Parameter Store: read through a cache, put once, never told."""

import json

import boto3
import pytest
from fleet_control.act.parameters import Parameters
from fleet_control.act.secrets import Secrets
from fleet_control.errors import SecretUnreadable
from mypy_boto3_secretsmanager import SecretsManagerClient

NAME = "/bp/staging/rds/fleet-control"
SECRET = {"host": "db", "port": "3307", "username": "fleet_control", "password": "hunter2", "engine": "mariadb"}


@pytest.fixture
def manager(aws: None) -> SecretsManagerClient:
    return boto3.client("secretsmanager")


def test_a_login_is_read_and_hides_its_password(manager: SecretsManagerClient) -> None:
    manager.create_secret(Name=NAME, SecretString=json.dumps(SECRET))
    login = Secrets(manager).database_login(NAME)
    assert (login.host, login.port, login.username) == ("db", 3307, "fleet_control")
    assert login.password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(login)


def test_a_login_is_cached_until_asked_for_fresh(manager: SecretsManagerClient) -> None:
    manager.create_secret(Name=NAME, SecretString=json.dumps(SECRET))
    secrets = Secrets(manager)
    secrets.database_login(NAME)
    manager.put_secret_value(SecretId=NAME, SecretString=json.dumps(SECRET | {"password": "rotated"}))
    assert secrets.database_login(NAME).password.get_secret_value() == "hunter2"
    assert secrets.database_login(NAME, fresh=True).password.get_secret_value() == "rotated"
    assert secrets.database_login(NAME).password.get_secret_value() == "rotated"


def test_a_missing_secret_is_named(manager: SecretsManagerClient) -> None:
    with pytest.raises(SecretUnreadable, match=NAME):
        Secrets(manager).database_login(NAME)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hunter2", "not JSON"),
        ('"hunter2"', "not a JSON object"),
        ('{"host": "db", "username": "hunter2"}', "password"),
        ('{"host": "db", "username": "u", "password": "hunter2", "port": "hunter2"}', "port"),
    ],
)
def test_a_malformed_secret_says_what_is_wrong_and_not_what_it_holds(
    manager: SecretsManagerClient, text: str, why: str
) -> None:
    manager.create_secret(Name=NAME, SecretString=text)
    with pytest.raises(SecretUnreadable, match=why) as caught:
        Secrets(manager).database_login(NAME)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_parameter_is_put_once_and_never_overwritten(aws: None) -> None:
    ssm = boto3.client("ssm")
    parameters = Parameters(ssm)
    assert parameters.put_secret_once("/bp/staging/fleet-secret", "first")
    assert not parameters.put_secret_once("/bp/staging/fleet-secret", "second")
    found = ssm.get_parameter(Name="/bp/staging/fleet-secret", WithDecryption=True)["Parameter"]
    assert (found["Type"], found["Value"]) == ("SecureString", "first")
