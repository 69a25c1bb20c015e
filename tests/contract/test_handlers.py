"""Whole functions on their sample events, each delivered twice: MariaDB and AWS around them, nothing faked between."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest
from fleet_control.act.aws import client
from fleet_control.act.tenants import USER
from fleet_control.errors import BadEvent

from lab.cloud.custom import ResponseDesk, response_desk
from lab.mariadb import CENTRAL, Connection, MariaDb

from .conftest import PASSWORD, Insert, open_as
from .handlers import Context, load

EVENTS = Path(__file__).parents[2] / "events"
STAGE = "staging"
NAMESPACE = "ComfyUI/Workers"


def sample(name: str, **changes: Any) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event | changes


@pytest.fixture
def stage(aws: None, mariadb: MariaDb, root: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A stage's secrets and environment; clients belong to this account alone."""
    client.cache_clear()
    manager = boto3.client("secretsmanager")
    ours = mariadb.master_secret() | {"username": USER, "password": PASSWORD}
    manager.create_secret(Name=f"/bp/{STAGE}/rds/fleet-control", SecretString=json.dumps(ours))
    manager.create_secret(Name=f"/bp/{STAGE}/rds/master-credentials", SecretString=json.dumps(mariadb.master_secret()))
    monkeypatch.setenv("STAGE", STAGE)
    monkeypatch.setenv("DB_SECRET_ID", f"/bp/{STAGE}/rds/fleet-control")
    monkeypatch.setenv("DB_CA_FILE", str(mariadb.ca_file))
    yield
    client.cache_clear()


@pytest.fixture
def desk() -> Iterator[ResponseDesk]:
    with response_desk() as desk:
        yield desk


Call = Callable[[str, dict[str, Any]], dict[str, Any]]


@pytest.fixture
def custom_resource(desk: ResponseDesk) -> Call:
    """Deliver an event to a function, give what CloudFormation was told."""

    def call(function: str, event: dict[str, Any]) -> dict[str, Any]:
        load(function).handler(event | {"ResponseURL": desk.url("request")}, Context())
        answer = desk.wait("request", seconds=1)
        assert answer is not None
        return answer

    return call


def published() -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    metrics = boto3.client("cloudwatch").list_metrics(Namespace=NAMESPACE)["Metrics"]
    return {(metric["MetricName"], tuple((d["Name"], d["Value"]) for d in metric["Dimensions"])) for metric in metrics}


def test_the_metrics_of_a_stage_are_published_each_minute(stage: None, insert: Insert) -> None:
    insert("workflows", name="Face swap", slug="face-swap")
    app = load("publish_metrics")
    first, second = (app.handler(sample("publish_metrics_schedule"), Context()) for _ in range(2))
    assert first["published"] == second["published"] == 11
    workflow = (("Stage", STAGE), ("WorkflowSlug", "face-swap"))
    assert ("QueueDepth", workflow) in published()
    assert {name for name, dimensions in published() if dimensions == (("Stage", STAGE),)} == {
        "UnroutedJobs",
        "JobsGoingRound",
        "ControlPlaneHeartbeat",
    }


def test_a_publication_takes_seven_statements_and_the_next_one_five(stage: None, insert: Insert) -> None:
    for number in range(30):
        insert("workflows", name="w", slug=f"w-{number}")
    app = load("publish_metrics")
    app.handler(sample("publish_metrics_schedule"), Context())
    database = app.ports().queue._database
    first = database.statements
    app.handler(sample("publish_metrics_schedule"), Context())
    assert (first, database.statements - first) == (7, 5)


def test_without_a_schema_nothing_is_published(stage: None, mariadb: MariaDb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CENTRAL_DB_NAME", "not_there_yet")
    result = load("publish_metrics").handler(sample("publish_metrics_schedule"), Context())
    assert result == {"published": 0, "held": "schema not migrated"}
    assert published() == set()


def test_a_schedule_that_says_nothing_fails_visibly(stage: None) -> None:
    with pytest.raises(BadEvent):
        load("publish_metrics").handler({}, Context())


@pytest.fixture
def as_first_deployment(stage: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_SECRET_ID", f"/bp/{STAGE}/rds/master-credentials")


def databases(server: MariaDb) -> set[str]:
    with server.connect() as root, root.cursor() as cursor:
        cursor.execute("SHOW DATABASES LIKE 'tenant_pool%'")
        return {next(iter(row.values())) for row in cursor.fetchall()}


def test_tenant_pools_are_created_updated_and_kept(
    as_first_deployment: None, mariadb: MariaDb, custom_resource: Call
) -> None:
    for _ in range(2):
        answer = custom_resource("tenant_pool_init", sample("tenant_pool_init_create"))
        assert (answer["Status"], answer["Data"]) == ("SUCCESS", {"PendingGrants": ""})
    assert databases(mariadb) == {"tenant_pool_1", "tenant_pool_2"}
    for _ in range(2):
        assert custom_resource("tenant_pool_init", sample("tenant_pool_init_update"))["Status"] == "SUCCESS"
    for _ in range(2):
        assert custom_resource("tenant_pool_init", sample("tenant_pool_init_delete"))["Status"] == "SUCCESS"
    assert databases(mariadb) == {"tenant_pool_1", "tenant_pool_2", "tenant_pool_3"}
    with closing(open_as(mariadb, USER, PASSWORD)) as session:
        assert session.query("SELECT COUNT(*) AS n FROM workflows") == [{"n": 0}]


def test_a_rotated_password_is_taken_over_by_an_update(
    as_first_deployment: None, mariadb: MariaDb, custom_resource: Call
) -> None:
    manager = boto3.client("secretsmanager")
    secret_id = f"/bp/{STAGE}/rds/fleet-control"
    for password in ("the next one", PASSWORD):
        value = mariadb.master_secret() | {"username": USER, "password": password}
        manager.put_secret_value(SecretId=secret_id, SecretString=json.dumps(value))
        assert custom_resource("tenant_pool_init", sample("tenant_pool_init_update"))["Status"] == "SUCCESS"
        with closing(open_as(mariadb, USER, password, database=CENTRAL)) as session:
            assert session.query("SELECT 1 AS one") == [{"one": 1}]


def test_by_hand_the_pending_grants_are_returned(as_first_deployment: None) -> None:
    event = sample("tenant_pool_init_update", ResponseURL="")
    assert load("tenant_pool_init").handler(event, Context()) == {"PendingGrants": ""}


def test_a_database_that_is_away_is_answered_with_what_to_check(
    as_first_deployment: None, mariadb: MariaDb, custom_resource: Call
) -> None:
    value = mariadb.master_secret() | {"password": "hunter2"}
    boto3.client("secretsmanager").put_secret_value(
        SecretId=f"/bp/{STAGE}/rds/master-credentials", SecretString=json.dumps(value)
    )
    answer = custom_resource("tenant_pool_init", sample("tenant_pool_init_create"))
    assert answer["Status"] == "FAILED"
    assert "user or password refused" in answer["Reason"]
    assert "hunter2" not in json.dumps(answer)


@pytest.mark.parametrize("function", ["tenant_pool_init", "fleet_secret_init", "ami_parameter_init"])
def test_a_wrong_setting_is_answered_too(
    stage: None, custom_resource: Call, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    monkeypatch.setenv("STAGE", "nowhere")
    answer = custom_resource(function, sample(f"{function}_create"))
    assert answer["Status"] == "FAILED"
    assert "STAGE" in answer["Reason"]


def test_the_fleet_secret_is_put_once_and_told_to_nobody(
    stage: None, custom_resource: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [custom_resource("fleet_secret_init", sample("fleet_secret_init_create")) for _ in range(2)]
    assert [answer["Data"] for answer in answers] == [{"ParameterName": "/bp/staging/fleet-secret"}] * 2
    found = boto3.client("ssm").get_parameter(Name="/bp/staging/fleet-secret", WithDecryption=True)["Parameter"]
    assert (found["Type"], found["Version"], len(found["Value"])) == ("SecureString", 1, 64)
    assert found["Value"] not in json.dumps(answers) + "".join(capsys.readouterr())


def test_deleting_the_fleet_secret_keeps_it(stage: None, custom_resource: Call) -> None:
    custom_resource("fleet_secret_init", sample("fleet_secret_init_create"))
    answer = custom_resource("fleet_secret_init", sample("fleet_secret_init_create", RequestType="Delete"))
    assert answer["Status"] == "SUCCESS"
    assert boto3.client("ssm").get_parameter(Name="/bp/staging/fleet-secret")["Parameter"]["Version"] == 1


def test_an_image_that_is_there_already_outlives_every_deployment(stage: None, custom_resource: Call) -> None:
    ssm, name = boto3.client("ssm"), "/bp/staging/ami/image-to-video"
    answers = [custom_resource("ami_parameter_init", sample("ami_parameter_init_create")) for _ in range(2)]
    assert [answer["Data"] for answer in answers] == [{"ParameterName": name}] * 2
    ssm.put_parameter(Name=name, Value="ami-0fedcba9876543210", Type="String", DataType="aws:ec2:image", Overwrite=True)
    custom_resource("ami_parameter_init", sample("ami_parameter_init_create", RequestType="Update"))
    custom_resource("ami_parameter_init", sample("ami_parameter_init_create", RequestType="Delete"))
    found = ssm.get_parameter(Name=name)["Parameter"]
    assert (found["Value"], found["Version"], found["DataType"]) == ("ami-0fedcba9876543210", 2, "aws:ec2:image")
