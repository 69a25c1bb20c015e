"""The backend's answers over HTTP are those of the contract, quirks included."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from lab.backend_http import BackendApi
from lab.mariadb import Connection, MariaDb
from lab.payloads import Payloads
from lab.site.server import Site
from lab.site.storage import Storage

SECRET = "the secret"
Call = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def call(mariadb: MariaDb, database: Connection) -> Iterator[Call]:
    """`call("poll", {...}, token)`: status and content; register goes with the secret unless told otherwise."""
    with database.cursor() as cursor:
        cursor.execute("INSERT INTO workflows (name, slug) VALUES ('Video', 'image-to-video')")
        cursor.execute("DROP TABLE IF EXISTS lab.jobs")
    payloads, storage = Payloads(mariadb.connect), Storage()
    payloads.create()
    payloads.close()
    api = BackendApi(mariadb.connect, storage, SECRET, registrations_per_minute=3)
    site = Site(api, storage)
    site.start()

    def call(path: str, body: dict[str, Any], token: str = "", secret: str = SECRET) -> tuple[int, dict[str, Any]]:
        connection = HTTPConnection(urlsplit(site.url).netloc, timeout=5)
        headers = {"X-Fleet-Secret": secret} | ({"Authorization": f"Bearer {token}"} if token else {})
        connection.request("POST", f"/i/i-1/api/worker/{path}", json.dumps(body).encode(), headers)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        connection.close()
        return answer.status, content

    yield call
    site.close()
    api.close()


def worker(name: str = "i-1") -> dict[str, Any]:
    return {"worker_id": name, "workflow_slugs": ["image-to-video"], "max_concurrency": 1}


def registered(call: Call, name: str = "i-1") -> str:
    return str(call("register", worker(name))[1]["data"]["token"])


def queue(database: Connection) -> None:
    with database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO ai_job_dispatches (tenant_id, tenant_job_id, provider, workflow_id, created_at) "
            "VALUES ('acme', 7, 'self_hosted', 1, UTC_TIMESTAMP())"
        )


def leased(call: Call, database: Connection, token: str) -> dict[str, Any]:
    queue(database)
    job: dict[str, Any] = call("poll", {"worker_id": "i-1"}, token)[1]["data"]["job"]
    return {"dispatch_id": job["dispatch_id"], "lease_token": job["lease_token"], "worker_id": "i-1"}


def test_registration_is_answered_with_a_token_shown_once(call: Call) -> None:
    status, content = call("register", worker())
    assert (status, content["success"]) == (200, True)
    assert len(content["data"]["token"]) == 64
    assert content["data"]["workflows_assigned"] == ["image-to-video"]


@pytest.mark.parametrize(
    ("body", "secret", "status"),
    [
        pytest.param(worker(), "wrong", 401, id="bad secret"),
        pytest.param(worker() | {"workflow_slugs": []}, SECRET, 422, id="no workflow"),
        pytest.param(worker() | {"workflow_slugs": ["unheard-of"]}, SECRET, 422, id="unknown workflow"),
        pytest.param({"workflow_slugs": ["image-to-video"]}, SECRET, 422, id="no worker id"),
        pytest.param(worker("i-known"), SECRET, 409, id="already registered"),
    ],
)
def test_registrations_that_are_refused(call: Call, body: dict[str, Any], secret: str, status: int) -> None:
    registered(call, "i-known")
    answered, content = call("register", body, secret=secret)
    assert (answered, content["success"], content["data"]) == (status, False, None)
    assert content["message"]


def test_the_fourth_registration_of_a_minute_from_one_address_is_throttled(call: Call) -> None:
    answers = [call("register", worker(f"i-{number}"))[0] for number in range(4)]
    assert answers == [200, 200, 200, 429]


def test_the_fifty_first_fleet_worker_is_refused(call: Call, database: Connection) -> None:
    with database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO comfy_ui_workers (worker_id, token_hash, registration_source) "
            "SELECT CONCAT('i-x', seq), CONCAT('hash', seq), 'fleet' FROM seq_1_to_50"
        )
    assert call("register", worker())[0] == 403


def test_a_poll_hands_out_all_that_a_job_needs_and_null_when_there_is_none(call: Call, database: Connection) -> None:
    token = registered(call)
    assert call("poll", {"worker_id": "i-1"}, token) == (200, {"success": True, "data": {"job": None}, "message": "OK"})
    queue(database)
    job = call("poll", {"worker_id": "i-1"}, token)[1]["data"]["job"]
    assert job.keys() == {
        "dispatch_id", "lease_token", "lease_expires_at", "provider", "tenant_id", "job_id", "effect_id",
        "input_payload", "input_url", "output_url", "output_headers",
    }  # fmt: skip
    assert (job["tenant_id"], job["job_id"], job["provider"]) == ("acme", 7, "self_hosted")


def test_a_worker_of_another_provider_gets_nothing(call: Call, database: Connection) -> None:
    token = registered(call)
    queue(database)
    assert call("poll", {"worker_id": "i-1", "providers": ["cloud"]}, token)[1]["data"]["job"] is None


@pytest.mark.parametrize("path", ["heartbeat", "complete", "fail", "requeue"])
def test_another_lease_token_is_answered_with_404_and_a_missing_one_with_422(
    call: Call, database: Connection, path: str
) -> None:
    token = registered(call)
    extra = {"provider_job_id": "p", "output": {"size": 1}, "error_message": "e", "reason": "r"}
    lease = leased(call, database, token) | extra
    assert call(path, lease | {"lease_token": "another"}, token)[0] == 404
    assert call(path, lease | {"lease_token": ""}, token)[0] == 422
    assert call(path, lease, "unknown token")[0] == 401
    assert call(path, lease)[0] == 401
    assert call(path, lease, token)[0] == 200


def test_completion_leaves_the_token_in_place(call: Call, database: Connection) -> None:
    token = registered(call)
    lease = leased(call, database, token)
    done = lease | {"provider_job_id": "p", "output": {"size": 1}}
    assert [call("complete", done, token)[0] for _ in range(2)] == [200, 200]
    assert call("heartbeat", lease, token)[0] == 200


def test_after_deregistration_the_token_is_worth_nothing_and_the_id_is_free(call: Call) -> None:
    token = registered(call)
    assert call("deregister", {}, token)[0] == 200
    assert call("poll", {"worker_id": "i-1"}, token)[0] == 401
    assert call("register", worker())[0] == 200
