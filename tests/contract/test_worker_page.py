"""The query that docs/worker.md gives for a job that breaks machine after machine finds it, and no other."""

import re
from pathlib import Path

from lab.backend import Backend
from lab.mariadb import Connection, MariaDb

PAGE = Path(__file__).parents[2] / "docs" / "worker.md"
SLUG = "image-to-video"


def test_a_job_that_was_given_back_three_times_for_its_machine_is_found(mariadb: MariaDb, root: Connection) -> None:
    with root.cursor() as cursor:
        cursor.execute("INSERT INTO workflows (name, slug) VALUES (%s, %s)", (SLUG, SLUG))
    backend = Backend(mariadb.connect, registrations_per_minute=None)
    token = backend.register("i-1", [SLUG])
    broken = _given_back(backend, token, 1, ["comfyui_dead", "worker_trouble", "comfyui_dead"])
    _given_back(backend, token, 2, ["comfyui_dead", "spot_interruption", "spot_interruption", "worker_trouble"])
    backend.close()
    with root.cursor() as cursor:
        cursor.execute(_query())
        assert [tuple(row.values()) for row in cursor.fetchall()] == [(broken, 3)]


def _given_back(backend: Backend, token: str, number: int, reasons: list[str]) -> int:
    dispatch = backend.submit(SLUG, tenant="acme", tenant_job_id=number)
    for reason in reasons:
        job = backend.poll(token)
        assert job is not None
        backend.requeue(token, job.dispatch_id, job.lease_token, reason)
    job = backend.poll(token)
    assert job is not None
    backend.complete(token, job.dispatch_id, job.lease_token)
    return dispatch


def _query() -> str:
    [found] = re.findall(r"(?m)^    SELECT .*\n(?:    .*\n)*", PAGE.read_text(encoding="utf-8"))
    return str(found)
