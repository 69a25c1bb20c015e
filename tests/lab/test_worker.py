import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.backend import Backend
from lab.mariadb import Connection, MariaDb
from lab.payloads import Payloads
from lab.workers import WorkerPace, Workers

PACE = WorkerPace(boot=0.05, poll=0.1, heartbeat=0.3, registrations_per_minute=100)


@pytest.fixture
def application(mariadb: MariaDb, database: Connection) -> Iterator[Callable[[int, float], int]]:
    """Queues job `number` with `seconds` of work and returns its dispatch id."""
    with database.cursor() as cursor:
        cursor.execute("INSERT INTO workflows (name, slug) VALUES ('Video', 'image-to-video')")
        cursor.execute("DROP TABLE IF EXISTS lab.jobs")
    backend, payloads = Backend(mariadb.connect), Payloads(mariadb.connect)
    payloads.create()

    def submit(number: int, seconds: float) -> int:
        payloads.put("acme", number, seconds)
        return backend.submit("image-to-video", tenant="acme", tenant_job_id=number)

    yield submit
    backend.close()
    payloads.close()


@pytest.fixture
def workers(mariadb: MariaDb, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(mariadb, tmp_path / "workers", PACE)
    yield workers
    workers.close()


def said(tmp_path: Path, instance: str = "i-1") -> list[str]:
    path = tmp_path / "workers" / f"{instance}.jsonl"
    return [json.loads(line)["event"] for line in path.read_text().splitlines()] if path.exists() else []


def value(database: Connection, sql: str) -> Any:
    with database.cursor() as cursor:
        cursor.execute(sql)
        row = cursor.fetchone()
    return next(iter(row.values())) if row else None


def eventually(check: Callable[[], object], seconds: float = 8) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def test_a_worker_boots_registers_and_works_the_queue_off(
    application: Callable[[int, float], int], workers: Workers, database: Connection, tmp_path: Path
) -> None:
    for number in (1, 2):
        application(number, 0.1)
    workers.start("i-1", ["image-to-video"])
    eventually(lambda: said(tmp_path).count("completed") == 2)
    assert said(tmp_path)[:3] == ["booting", "registered", "leased"]
    assert value(database, "SELECT GROUP_CONCAT(DISTINCT status) FROM ai_job_dispatches") == "completed"


@pytest.mark.parametrize(("silent", "extended"), [(False, True), (True, False)])
def test_a_worker_heartbeats_while_it_works_unless_it_is_of_the_silent_kind(
    application: Callable[[int, float], int], workers: Workers, database: Connection, silent: bool, extended: bool
) -> None:
    application(1, 0.8)
    workers.start("i-1", ["image-to-video"], silent=silent)
    eventually(lambda: value(database, "SELECT status FROM ai_job_dispatches") == "completed")
    ahead = value(database, "SELECT TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), lease_expires_at) FROM ai_job_dispatches")
    assert (ahead > 1000) is extended


def test_a_killed_worker_leaves_its_job_leased(
    application: Callable[[int, float], int], workers: Workers, database: Connection, tmp_path: Path
) -> None:
    application(1, 30)
    workers.start("i-1", ["image-to-video"])
    eventually(lambda: "leased" in said(tmp_path))
    workers.kill("i-1")
    assert workers.alive() == []
    assert value(database, "SELECT status FROM ai_job_dispatches") == "leased"


def test_a_worker_whose_job_was_requeued_meanwhile_is_fenced_off_and_goes_on(
    application: Callable[[int, float], int], workers: Workers, database: Connection, tmp_path: Path
) -> None:
    application(1, 0.8)
    workers.start("i-1", ["image-to-video"], silent=True)
    eventually(lambda: "leased" in said(tmp_path))
    with database.cursor() as cursor:
        cursor.execute("UPDATE ai_job_dispatches SET status = 'failed', lease_token = NULL")
    eventually(lambda: "fenced" in said(tmp_path))
    application(2, 0.1)
    eventually(lambda: "completed" in said(tmp_path))
    assert value(database, "SELECT status FROM ai_job_dispatches WHERE tenant_job_id = 1") == "failed"


def test_a_worker_outlasts_a_database_outage_in_the_middle_of_a_job(
    application: Callable[[int, float], int], workers: Workers, mariadb: MariaDb, tmp_path: Path
) -> None:
    application(1, 0.8)
    workers.start("i-1", ["image-to-video"])
    eventually(lambda: "leased" in said(tmp_path))
    outage = threading.Thread(target=mariadb.stop_for, args=(1.0,))
    outage.start()
    outage.join()
    eventually(lambda: "completed" in said(tmp_path))
    assert "backend_away" in said(tmp_path)
