"""The workers of a world: real processes of the product, with the site around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import tail
from lab.backend import Backend
from lab.mariadb import Connection, MariaDb
from lab.payloads import Payloads
from lab.workers import WorkerPace, Workers

from .waiting import until

PACE = WorkerPace(boot=0.05, poll=0.1, heartbeat=0.3, registrations_per_minute=100, notice=0.2, margin=0.5)


@pytest.fixture
def submit(mariadb: MariaDb, database: Connection) -> Iterator[Callable[[int, float], int]]:
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


def said(tmp_path: Path) -> list[str]:
    return [entry["event"] for entry in tail.read(tmp_path / "workers" / "i-1.jsonl")]


def value(database: Connection, sql: str) -> Any:
    with database.cursor() as cursor:
        cursor.execute(sql)
        row = cursor.fetchone()
    return next(iter(row.values())) if row else None


def test_a_worker_registers_once_its_comfyui_is_up_and_works_the_queue_off(
    submit: Callable[[int, float], int], workers: Workers, database: Connection, tmp_path: Path
) -> None:
    for number in (1, 2):
        submit(number, 0.1)
    workers.start("i-1", ["image-to-video"])
    until(lambda: said(tmp_path).count("completed") == 2, 15)
    assert said(tmp_path)[:3] == ["started", "registered", "leased"]
    assert value(database, "SELECT GROUP_CONCAT(DISTINCT status) FROM ai_job_dispatches") == "completed"
    ahead = value(
        database, "SELECT MAX(TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), lease_expires_at)) FROM ai_job_dispatches"
    )
    assert ahead > 1000, "a heartbeat adds a whole lease to the present expiry"


def test_an_instances_death_is_its_workers_and_leaves_the_job_leased(
    submit: Callable[[int, float], int], workers: Workers, database: Connection, tmp_path: Path
) -> None:
    submit(1, 30)
    workers.start("i-1", ["image-to-video"])
    until(lambda: "rendering" in said(tmp_path), 15)
    workers.kill("i-1")
    assert workers.alive() == []
    assert value(database, "SELECT status FROM ai_job_dispatches") == "leased"


def test_a_warned_instances_worker_hears_of_it_from_its_metadata_service(
    submit: Callable[[int, float], int], workers: Workers, database: Connection, tmp_path: Path
) -> None:
    submit(1, 30)
    workers.start("i-1", ["image-to-video"])
    until(lambda: "rendering" in said(tmp_path), 15)
    workers.warn("i-1", 3.0)
    until(lambda: "deregistered" in said(tmp_path), 15)
    assert value(database, "SELECT last_error FROM ai_job_dispatches") == "Requeued: spot_interruption"


def test_the_workers_and_what_surrounds_them_go_together(workers: Workers, tmp_path: Path) -> None:
    workers.start("i-1", ["image-to-video"])
    workers.close()
    assert workers.alive() == []
    with pytest.raises((OSError, RuntimeError)):
        workers.warn("i-1", 1.0)
