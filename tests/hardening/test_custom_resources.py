"""CloudFormation always gets its answer, nothing is made of a bad request, and nothing is ever dropped."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.cloud import custom
from lab.cloud.functions import LambdaService
from lab.cloud.names import function_arn
from tests.lab.waiting import until

from .desks import SIGNATURE, Desk, silent_host
from .places import Letters, Stage

EVENTS = Path(__file__).parents[2] / "events"
SECRET = "/bp/staging/rds/fleet-control"
PATTERN = "'^[a-z][a-z0-9_]{0,62}$'"
MADE_UP = "bp-staging-TenantPools-1KXZ9M3T4Q"
"""What CloudFormation calls a resource whose Create never named itself."""


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk.open()
    desk.close()


def request(sample: str, desk: Desk, **changes: Any) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{sample}.json").read_text())
    return event | {"ResponseURL": desk.url, "RequestId": str(uuid.uuid4())} | changes


def properties(*pools: str) -> dict[str, Any]:
    return {"Pools": list(pools), "FleetControlSecretId": SECRET}


def held(stage: Stage) -> tuple[set[str], set[str]]:
    """Names of all databases and of all users."""
    with stage.world.connect() as session, session.cursor() as cursor:
        cursor.execute("SELECT schema_name AS name FROM information_schema.schemata")
        databases = {row["name"] for row in cursor.fetchall()}
        cursor.execute("SELECT user AS name FROM mysql.user")
        return databases, {row["name"] for row in cursor.fetchall()}


def told(stage: Stage, function: str, event: dict[str, Any], desk: Desk) -> dict[str, Any]:
    """What CloudFormation was told of this event."""
    desk.answers.clear()
    stage.send(function, event)
    return desk.answer()


BAD_NAMES = {
    "a statement after a backtick": "x`; DROP DATABASE bp; -- ",
    "a backtick": "tenant`pool",
    "a quote": "tenant'pool",
    "a double quote": 'tenant"pool',
    "a comment": "tenant/**/pool",
    "a percent sign": "tenant%spool",
    "a backslash": "tenant\\pool",
    "a letter that looks like another": "tenant_p\u043e\u043el",
    "a full-width letter": "\uff54enant_pool",
    "a null byte": "tenant\x00pool",
    "a newline at the end": "tenant_pool\n",
    "a dot": "mysql.user",
    "a dash": "tenant-pool",
    "capitals": "Tenant_Pool",
    "a digit first": "1tenant",
    "an underscore first": "_tenant",
    "64 characters": "p" * 64,
    "nothing": "",
    "a blank": " ",
}


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES.keys())
def test_a_bad_pool_name_fails_the_stack_with_its_reason_and_creates_nothing(stage: Stage, name: str) -> None:
    before = held(stage)
    wanted = properties("never_made", name) | {"ServiceToken": function_arn("bp-staging-tenant-pool-init")}
    with custom.response_desk() as desk, pytest.raises(custom.CustomResourceError) as failure:
        custom.create(stage.world.cloud.functions, desk, "TenantPools", "Custom::TenantPools", wanted)
    assert f"Pools.1: String should match pattern {PATTERN}" in str(failure.value)
    assert held(stage) == before


@pytest.mark.parametrize(
    "pools", ["never_made", [], {}, {"0": "never_made"}, None, [["never_made"]], [7], ["never_made", None]], ids=repr
)
def test_pools_that_are_no_list_of_names_are_refused_by_name(stage: Stage, desk: Desk, pools: object) -> None:
    before = held(stage)
    event = request("tenant_pool_init_create", desk, ResourceProperties=properties() | {"Pools": pools})
    answer = told(stage, "tenant-pool-init", event, desk)
    assert answer["Status"] == "FAILED"
    assert answer["Reason"].startswith("Pools")
    assert held(stage) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"RequestType": None},
        {"RequestType": "Replace"},
        {"StackId": 7, "LogicalResourceId": None, "PhysicalResourceId": ["x"]},
        {"ResourceProperties": "Pools"},
        {"ResourceProperties": None},
    ],
    ids=repr,
)
@pytest.mark.parametrize("function", ["tenant_pool_init", "fleet_secret_init", "ami_parameter_init"])
def test_whoever_can_be_answered_is_answered(stage: Stage, desk: Desk, function: str, changes: dict[str, Any]) -> None:
    event = request(f"{function}_create", desk, ResourceProperties={}) | changes
    answer = told(stage, function.replace("_", "-"), event, desk)
    assert (answer["Status"], answer["RequestId"]) == ("FAILED", event["RequestId"])
    assert answer["Reason"]
    assert answer["PhysicalResourceId"]


def test_a_failed_create_and_the_delete_after_it_change_nothing(stage: Stage, desk: Desk) -> None:
    before = held(stage)
    bad = properties("never_made", "x`y")
    created = told(stage, "tenant-pool-init", request("tenant_pool_init_create", desk, ResourceProperties=bad), desk)
    assert created["Status"] == "FAILED"
    for name in (created["PhysicalResourceId"], MADE_UP):
        event = request("tenant_pool_init_delete", desk, ResourceProperties=bad, PhysicalResourceId=name)
        answer = told(stage, "tenant-pool-init", event, desk)
        assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", name)
    assert held(stage) == before


def test_deleting_a_secret_that_was_never_made_leaves_the_one_that_was(stage: Stage, desk: Desk) -> None:
    parameters = stage.world.cloud.client("ssm")
    before = parameters.get_parameter(Name="/bp/staging/fleet-secret", WithDecryption=True)["Parameter"]["Value"]
    event = request("fleet_secret_init_create", desk, RequestType="Delete", PhysicalResourceId=MADE_UP)
    assert told(stage, "fleet-secret-init", event, desk)["Status"] == "SUCCESS"
    after = parameters.get_parameter(Name="/bp/staging/fleet-secret", WithDecryption=True)["Parameter"]["Value"]
    assert after == before


def test_fewer_pools_or_none_leave_databases_users_and_data(stage: Stage, desk: Desk) -> None:
    pools = ("keeps_one", "keeps_two")
    event = request("tenant_pool_init_update", desk, ResourceProperties=properties(*pools))
    assert told(stage, "tenant-pool-init", event, desk)["Status"] == "SUCCESS"
    stage.run("CREATE TABLE keeps_two.ai_jobs (id int)")
    stage.run("INSERT INTO keeps_two.ai_jobs VALUES (42)")
    before = held(stage)
    for sample, wanted in (("update", properties("keeps_one")), ("delete", properties()), ("delete", {})):
        event = request(f"tenant_pool_init_{sample}", desk, ResourceProperties=wanted)
        assert told(stage, "tenant-pool-init", event, desk)["Status"] == "SUCCESS"
    assert held(stage) == before
    login = json.loads(stage.world.cloud.client("secretsmanager").get_secret_value(SecretId=SECRET)["SecretString"])
    with stage.world.connect(database="keeps_two") as session, session.cursor() as cursor:
        cursor.execute("SELECT id FROM ai_jobs")
        assert list(cursor.fetchall()) == [{"id": 42}]
    with stage.world.connect(user=login["username"], password=login["password"]) as session, session.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) AS jobs FROM ai_job_dispatches")
        assert cursor.fetchone() == {"jobs": 0}


def test_surplus_grants_on_the_oddest_names_are_taken_back(stage: Stage, desk: Desk) -> None:
    """A wildcard's percent sign and a backtick in a database's name are part of the name, whatever they look like."""
    odd = "odd`name; --"
    stage.run(f"CREATE DATABASE `{odd.replace('`', '``')}`")
    for target in ("`tenant\\_pool\\_%`.*", "`%`.*", f"`{odd.replace('`', '``')}`.*"):
        stage.run(f"GRANT SELECT ON {target} TO fleet_control")
    answer = told(stage, "tenant-pool-init", request("tenant_pool_init_update", desk), desk)
    assert answer["Status"] == "SUCCESS"
    with stage.world.connect() as session, session.cursor() as cursor:
        cursor.execute("SELECT table_schema FROM information_schema.schema_privileges WHERE grantee LIKE '_fleet%'")
        assert list(cursor.fetchall()) == []
    assert odd in held(stage)[0]


def test_an_address_that_answers_badly_at_first_gets_the_answer(stage: Stage, desk: Desk) -> None:
    desk.codes = [500, 503]
    answer = told(stage, "fleet-secret-init", request("fleet_secret_init_create", desk), desk)
    assert (answer["Status"], desk.asked) == ("SUCCESS", 3)
    [invocation] = stage.answered("fleet-secret-init")
    assert invocation["error"] is None


def test_an_address_nobody_listens_at_yet_gets_the_answer_as_soon_as_somebody_does(stage: Stage) -> None:
    """Within the invocation, or by Lambda's retry; one that never answers leaves the event with its reason."""
    soon, late, never = Desk(), Desk(), Desk()
    queue = Letters(stage.world)
    stage.send(variant(stage, "fleet-secret-init", "gives-up"), request("fleet_secret_init_create", never))
    for desk in (soon, late):
        stage.send("fleet-secret-init", request("fleet_secret_init_create", desk))
    try:
        until(lambda: len(stage.decisions("fleet-secret-init", rule="fleet_secret")) == 2, seconds=15)
        soon.open()
        assert soon.answer()["Status"] == "SUCCESS"
        until(lambda: stage.happened("invocation", function="bp-staging-fleet-secret-init"), seconds=15)
        late.open()
        assert late.answer()["Status"] == "SUCCESS"
        [letter] = queue.wait()
        assert letter["responsePayload"]["errorType"] == "AnswerNotSent"
        assert "ResponseURL: URLError at attempt 4" in letter["responsePayload"]["errorMessage"]
        assert SIGNATURE not in stage.all_text() + json.dumps(letter["responsePayload"])
    finally:
        for desk in (soon, late):
            desk.close()


def variant(stage: Stage, function: str, name: str, timeout: float = 30, **variables: str) -> str:
    """The deployed function once more, under a name and with settings of its own."""
    service = stage.world.cloud.functions
    assert isinstance(service, LambdaService)
    deployed = service._pools[f"bp-staging-{function}"].function
    changed = {**deployed.variables, **variables}
    service.add(replace(deployed, name=f"bp-staging-{name}", timeout=timeout, variables=changed, retries=0))
    return name


def test_work_that_hangs_is_answered_before_lambda_ends_it(stage: Stage, desk: Desk) -> None:
    secrets = stage.world.cloud.client("secretsmanager")
    with silent_host() as port:
        login = {"host": "127.0.0.1", "port": port, "username": "admin", "password": "hunter2"}
        secrets.create_secret(Name="/bp/staging/silent", SecretString=json.dumps(login))
        hanging = variant(stage, "tenant-pool-init", "hangs", timeout=8, DB_SECRET_ID="/bp/staging/silent")
        stage.send(hanging, request("tenant_pool_init_create", desk))
        answer = desk.answer(20)
        assert stage.happened("invocation", function="bp-staging-hangs") == [], "it was answered by its end"
    assert (answer["Status"], answer["Data"]) == ("FAILED", {})
    assert answer["Reason"] == "ran out of time; the function's log says at what"


def test_a_failure_nobody_thought_of_is_answered_by_its_type_alone(stage: Stage, desk: Desk) -> None:
    broken = variant(stage, "fleet-secret-init", "breaks", AWS_ENDPOINT_URL="http://127.0.0.1:9")
    answer = told(stage, broken, request("fleet_secret_init_create", desk), desk)
    assert answer["Status"] == "FAILED"
    assert answer["Reason"].startswith("EndpointConnectionError (log stream ")
    [invocation] = stage.answered(broken)
    assert invocation["error"] is None
    assert stage.counted(broken, "Errors") == 1
