"""Adapters against the real thing: one private MariaDB a test process, clean tables a test.

The product's session is the least-privilege user, made by the product itself: a statement without its grant fails here.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fleet_control.act.database import Database
from fleet_control.act.secrets import DatabaseLogin
from fleet_control.act.tenants import USER, TenantDatabases
from moto import mock_aws

from lab.mariadb import CENTRAL, Connection, MariaDb, empty_tables, session_server

PASSWORD = "correct horse battery staple"
Insert = Callable[..., int]
Add = Callable[..., int]


def open_as(server: MariaDb, username: str, password: str, *, database: str | None = CENTRAL) -> Database:
    """A session of the product as any user, with verified TLS."""
    login = DatabaseLogin.model_validate(
        {"host": server.host, "port": server.port, "username": username, "password": password}
    )
    return Database(lambda *, fresh: login, database=database, ca_file=str(server.ca_file))


def as_master(server: MariaDb) -> Database:
    return open_as(server, server.master.username, server.master.password, database=None)


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    """With the contract's tables and the control plane's user in it."""
    with session_server(Path(tmp_path_factory.mktemp("mariadb"))) as server:
        with closing(as_master(server)) as master:
            tenants = TenantDatabases(master)
            tenants.set_user(PASSWORD)
            assert tenants.grant(CENTRAL) == ()
        yield server


@pytest.fixture
def root(mariadb: MariaDb) -> Iterator[Connection]:
    """The backend's side of the table: a session that may do anything, on tables just emptied."""
    with mariadb.connect() as connection:
        empty_tables(connection)
        yield connection


@pytest.fixture
def database(mariadb: MariaDb, root: Connection) -> Iterator[Database]:
    """The product's session, as fleet_control, on empty tables."""
    with closing(open_as(mariadb, USER, PASSWORD)) as session:
        yield session


@pytest.fixture
def insert(root: Connection) -> Insert:
    """insert("workflows", slug="x", created_at=SQL("UTC_TIMESTAMP()")) → the row's id."""

    def put(table: str, **values: Any) -> int:
        slots = ", ".join(value.text if isinstance(value, SQL) else "%s" for value in values.values())
        params = [value for value in values.values() if not isinstance(value, SQL)]
        with root.cursor() as cursor:
            cursor.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({slots})", params)  # noqa: S608
            return int(cursor.lastrowid)

    return put


@pytest.fixture
def workflow(insert: Insert) -> int:
    return insert("workflows", name="Image to video", slug="image-to-video")


@pytest.fixture
def job(insert: Insert, workflow: int) -> Add:
    """job(status="leased", …) → id; a queued self_hosted job of the workflow unless said otherwise."""
    numbers = iter(range(1, 10_000))

    def add(**changes: Any) -> int:
        row = {
            "tenant_id": "t",
            "tenant_job_id": next(numbers),
            "provider": "self_hosted",
            "workflow_id": workflow,
            "created_at": ago(30),
        }
        return insert("ai_job_dispatches", **(row | changes))

    return add


@pytest.fixture
def worker(insert: Insert, workflow: int) -> Add:
    numbers = iter(range(1, 10_000))

    def add(workflow_id: int = workflow, **changes: Any) -> int:
        row = {"worker_id": f"i-{next(numbers)}", "is_approved": 1, "last_seen_at": ago(3)}
        row_id = insert("comfy_ui_workers", **(row | changes))
        insert("worker_workflows", worker_id=row_id, workflow_id=workflow_id)
        return row_id

    return add


@pytest.fixture
def audit(insert: Insert) -> Add:
    def add(event: str, dispatch: int, seconds_ago: float, **changes: Any) -> int:
        row = {"event": event, "dispatch_id": dispatch, "created_at": ago(seconds_ago)}
        return insert("worker_audit_logs", **(row | changes))

    return add


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An account of its own in this process, without credentials that could reach a real one."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        yield


class SQL:
    """An expression the server computes, for instance a time relative to its own clock."""

    def __init__(self, text: str) -> None:
        self.text = text


def ago(seconds: float) -> SQL:
    """A time before (negative: after) the server's now."""
    return SQL(f"UTC_TIMESTAMP() - INTERVAL {seconds} SECOND")


def leased(seconds_left: float, worker_id: str = "i-1", attempts: int = 1) -> dict[str, Any]:
    expires = ago(-seconds_left)
    return {"status": "leased", "worker_id": worker_id, "lease_expires_at": expires, "attempts": attempts}
