import datetime as dt
import threading
from collections.abc import Iterator

import pytest

from lab.backend import Backend, Job, RefusedError, php_now
from lab.mariadb import Connection, MariaDb
from lab.sessions import AwayError, Row


@pytest.fixture
def backend(mariadb: MariaDb, database: Connection) -> Iterator[Backend]:
    with database.cursor() as cursor:
        cursor.execute("INSERT INTO workflows (name, slug) VALUES ('Video', 'image-to-video'), ('Swap', 'face-swap')")
    backend = Backend(mariadb.connect, registrations_per_minute=None)
    yield backend
    backend.close()


def submit(backend: Backend, number: int = 1, **fields: object) -> int:
    return backend.submit("image-to-video", tenant="acme", tenant_job_id=number, **fields)  # type: ignore[arg-type]


def dispatch(database: Connection, dispatch_id: int) -> Row:
    with database.cursor() as cursor:
        cursor.execute("SELECT * FROM ai_job_dispatches WHERE id = %s", (dispatch_id,))
        row = cursor.fetchone()
    assert row is not None
    return row


def events(database: Connection) -> list[str]:
    with database.cursor() as cursor:
        cursor.execute("SELECT event FROM worker_audit_logs ORDER BY id")
        return [row["event"] for row in cursor.fetchall()]


def leased(backend: Backend, token: str) -> Job:
    job = backend.poll(token)
    assert job is not None
    return job


def test_a_poll_leases_for_900_seconds_and_charges_one_attempt(backend: Backend, database: Connection) -> None:
    dispatch_id = submit(backend)
    token = backend.register("i-1", ["image-to-video"])
    job = leased(backend, token)
    row = dispatch(database, dispatch_id)
    assert (row["status"], row["worker_id"], row["attempts"]) == ("leased", "i-1", 1)
    assert row["lease_token"] == job.lease_token
    assert abs(row["lease_expires_at"] - php_now() - dt.timedelta(seconds=900)) <= dt.timedelta(seconds=2)
    assert events(database) == ["registered", "poll"]


def test_leases_go_by_priority_then_age_within_the_workers_workflows(backend: Backend, database: Connection) -> None:
    old, young, urgent = (submit(backend, number, priority=int(number == 3)) for number in (1, 2, 3))
    other = backend.submit("face-swap", tenant="acme", tenant_job_id=4, priority=9)
    cloud = submit(backend, 5, provider="cloud")
    with database.cursor() as cursor:
        cursor.execute(
            "UPDATE ai_job_dispatches SET created_at = created_at - INTERVAL 60 SECOND WHERE id = %s", (old,)
        )
    token = backend.register("i-1", ["image-to-video"], max_concurrency=9)
    order = [leased(backend, token).dispatch_id for _ in range(3)]
    assert order == [urgent, old, young]
    assert backend.poll(token) is None
    assert {dispatch(database, skipped)["status"] for skipped in (other, cloud)} == {"queued"}


def test_an_expired_lease_is_taken_over_until_three_attempts_are_spent(backend: Backend, database: Connection) -> None:
    dispatch_id = submit(backend)
    token = backend.register("i-1", ["image-to-video"])
    for attempt in (1, 2, 3):
        assert leased(backend, token).attempts == attempt
        with database.cursor() as cursor:
            cursor.execute("UPDATE ai_job_dispatches SET lease_expires_at = UTC_TIMESTAMP() - INTERVAL 1 SECOND")
    assert backend.poll(token) is None
    assert dispatch(database, dispatch_id)["status"] == "leased"


def test_a_draining_or_full_worker_is_refused_but_seen(backend: Backend, database: Connection) -> None:
    submit(backend)
    token = backend.register("i-1", ["image-to-video"])
    with database.cursor() as cursor:
        cursor.execute("UPDATE comfy_ui_workers SET last_seen_at = NULL, is_draining = 1")
        assert backend.poll(token) is None
        cursor.execute("SELECT last_seen_at FROM comfy_ui_workers")
        seen = cursor.fetchone()
        cursor.execute("UPDATE comfy_ui_workers SET is_draining = 0")
    assert seen is not None
    assert seen["last_seen_at"] is not None
    assert backend.poll(token, current_load=1) is None


def test_a_poll_under_way_leases_a_job_after_the_drain(backend: Backend, database: Connection) -> None:
    submit(backend)
    worker = backend.check_in(backend.register("i-1", ["image-to-video"]))
    backend.drain_by_hand("i-1")
    assert backend.lease(worker) is not None


def test_a_lease_waits_for_a_row_lock_instead_of_skipping_it(backend: Backend, mariadb: MariaDb) -> None:
    dispatch_id = submit(backend)
    token = backend.register("i-1", ["image-to-video"])
    holder = mariadb.connect(autocommit=False)
    with holder.cursor() as cursor:
        cursor.execute("SELECT id FROM ai_job_dispatches WHERE id = %s FOR UPDATE", (dispatch_id,))
    jobs: list[Job | None] = []
    poll = threading.Thread(target=lambda: jobs.append(backend.poll(token)))
    poll.start()
    poll.join(0.4)
    assert poll.is_alive()
    holder.rollback()
    poll.join(3)
    assert jobs[0] is not None
    holder.close()


def test_each_heartbeat_adds_900_seconds_to_the_present_expiry(backend: Backend, database: Connection) -> None:
    dispatch_id = submit(backend)
    token = backend.register("i-1", ["image-to-video"])
    job = leased(backend, token)
    before = dispatch(database, dispatch_id)["lease_expires_at"]
    for _ in range(2):
        backend.heartbeat(token, dispatch_id, job.lease_token)
    assert dispatch(database, dispatch_id)["lease_expires_at"] - before == dt.timedelta(seconds=1800)


def test_completion_keeps_the_token_and_another_token_gets_404(backend: Backend, database: Connection) -> None:
    dispatch_id = submit(backend)
    token = backend.register("i-1", ["image-to-video"])
    job = leased(backend, token)
    with pytest.raises(RefusedError, match="404"):
        backend.complete(token, dispatch_id, "another")
    backend.complete(token, dispatch_id, job.lease_token)
    row = dispatch(database, dispatch_id)
    assert (row["status"], row["lease_token"], row["duration_seconds"]) == ("completed", job.lease_token, 0)


def test_a_requeue_costs_no_attempt_and_fences_the_old_worker(backend: Backend, database: Connection) -> None:
    dispatch_id = submit(backend)
    token = backend.register("i-1", ["image-to-video"])
    job = leased(backend, token)
    backend.requeue(token, dispatch_id, job.lease_token, "spot_interruption")
    row = dispatch(database, dispatch_id)
    assert (row["status"], row["attempts"], row["worker_id"], row["lease_token"]) == ("queued", 0, None, None)
    assert row["last_error"] == "Requeued: spot_interruption"
    with pytest.raises(RefusedError, match="404"):
        backend.complete(token, dispatch_id, job.lease_token)


def test_a_failure_is_final(backend: Backend, database: Connection) -> None:
    dispatch_id = submit(backend)
    token = backend.register("i-1", ["image-to-video"])
    backend.fail(token, dispatch_id, leased(backend, token).lease_token, "out of memory")
    assert dispatch(database, dispatch_id)["status"] == "failed"
    assert backend.poll(token) is None


def test_registration_refuses_the_known_the_51st_and_the_unknown_workflow(
    backend: Backend, database: Connection
) -> None:
    backend.register("i-1", ["image-to-video"])
    with pytest.raises(RefusedError, match="409"):
        backend.register("i-1", ["image-to-video"])
    with pytest.raises(RefusedError, match="422"):
        backend.register("i-2", ["no-such"])
    with database.cursor() as cursor:
        values = [(f"i-{n}", "fleet") for n in range(2, 51)]
        cursor.executemany("INSERT INTO comfy_ui_workers (worker_id, registration_source) VALUES (%s, %s)", values)
    with pytest.raises(RefusedError, match="403"):
        backend.register("i-51", ["image-to-video"])


def test_ten_registrations_a_minute_from_one_address_are_the_limit(mariadb: MariaDb, backend: Backend) -> None:
    throttled = Backend(mariadb.connect)
    for number in range(10):
        throttled.register(f"i-{number}", ["image-to-video"])
    with pytest.raises(RefusedError, match="429"):
        throttled.register("i-10", ["image-to-video"])
    throttled.close()


def test_deregistration_removes_the_worker_with_its_workflows(backend: Backend, database: Connection) -> None:
    token = backend.register("i-1", ["image-to-video", "face-swap"])
    backend.deregister(token)
    with database.cursor() as cursor:
        cursor.execute("SELECT (SELECT COUNT(*) FROM comfy_ui_workers) + (SELECT COUNT(*) FROM worker_workflows) AS n")
        assert cursor.fetchone() == {"n": 0}
    assert events(database) == ["registered", "deregistered"]


def test_an_outage_is_an_error_of_the_request_and_the_next_one_works(backend: Backend, mariadb: MariaDb) -> None:
    token = backend.register("i-1", ["image-to-video"])
    mariadb.stop()
    with pytest.raises(AwayError):
        backend.poll(token)
    mariadb.start()
    assert backend.poll(token) is None
