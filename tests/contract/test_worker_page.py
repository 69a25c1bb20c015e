"""The statements that docs/worker.md gives for jobs that need a person do what the page says, and nothing else."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.backend import Backend, Job, RefusedError
from lab.mariadb import Connection, MariaDb

PAGE = Path(__file__).parents[2] / "docs" / "worker.md"
SLUG = "image-to-video"
FIND_ROUND, END, FIND_STUCK, AGAIN = re.findall(
    r"(?m)^    (?:SELECT|UPDATE) .*\n(?:    .*\n)*", PAGE.read_text("utf-8")
)


@pytest.fixture
def backend(mariadb: MariaDb, root: Connection) -> Iterator[Backend]:
    found(root, "INSERT INTO workflows (name, slug) VALUES ('Video', 'image-to-video')")
    backend = Backend(mariadb.connect, registrations_per_minute=None)
    yield backend
    backend.close()


@pytest.fixture
def token(backend: Backend) -> str:
    return backend.register("i-1", [SLUG])


def found(root: Connection, sql: str, dispatch: int | None = None) -> list[tuple[object, ...]]:
    with root.cursor() as cursor:
        cursor.execute(sql.replace("…", str(dispatch)))
        return [tuple(row.values()) for row in cursor.fetchall()]


def leased(backend: Backend, token: str) -> Job:
    job = backend.poll(token)
    assert job is not None
    return job


def given_back(backend: Backend, token: str, number: int, reasons: list[str]) -> int:
    """A job that was given back for each of the reasons, and waits again."""
    dispatch = backend.submit(SLUG, tenant="acme", tenant_job_id=number)
    for reason in reasons:
        job = leased(backend, token)
        backend.requeue(token, job.dispatch_id, job.lease_token, reason)
    return dispatch


def test_a_job_that_was_given_back_three_times_for_its_machine_is_found(
    backend: Backend, token: str, root: Connection
) -> None:
    broken = given_back(backend, token, 1, ["comfyui_dead", "worker_trouble", "comfyui_dead"])
    job = leased(backend, token)
    backend.complete(token, job.dispatch_id, job.lease_token)
    given_back(backend, token, 2, ["comfyui_dead", "spot_interruption", "spot_interruption", "worker_trouble"])
    assert found(root, FIND_ROUND) == [(broken, 3)]


def test_it_is_ended_under_its_workers_hands_and_cannot_be_given_back_again(
    backend: Backend, token: str, root: Connection
) -> None:
    broken = given_back(backend, token, 1, ["comfyui_dead"] * 3)
    job = leased(backend, token)
    found(root, END, broken)
    with pytest.raises(RefusedError, match="404"):
        backend.heartbeat(token, job.dispatch_id, job.lease_token)
    with pytest.raises(RefusedError, match="404"):
        backend.requeue(token, job.dispatch_id, job.lease_token, "comfyui_dead")
    assert backend.poll(token) is None
    assert found(root, "SELECT status, worker_id FROM ai_job_dispatches") == [("failed", None)]


def test_a_job_whose_last_lease_expired_is_found_and_leased_again_after_its_attempts_are_forgiven(
    backend: Backend, token: str, root: Connection
) -> None:
    stuck = backend.submit(SLUG, tenant="acme", tenant_job_id=1)
    for _ in range(3):
        assert leased(backend, token).dispatch_id == stuck
        assert found(root, FIND_STUCK) == []
        found(root, "UPDATE ai_job_dispatches SET lease_expires_at = UTC_TIMESTAMP() - INTERVAL 1 MINUTE")
    assert backend.poll(token) is None
    assert [row[:3] for row in found(root, FIND_STUCK)] == [(stuck, "acme", 3)]
    found(root, AGAIN, stuck)
    assert leased(backend, token).dispatch_id == stuck
