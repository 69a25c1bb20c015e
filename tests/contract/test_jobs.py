"""The job table against MariaDB, as the least-privilege user: what counts, and the one change we make."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from typing import Any

import pytest
from fleet_control.act.database import Database
from fleet_control.act.jobs import Jobs
from fleet_control.act.tenants import USER
from fleet_control.flows import rows

from lab.backend import Backend
from lab.mariadb import Connection, MariaDb

from .conftest import PASSWORD, Add, Insert, ago, leased, open_as

SLUGS = ("image-to-video",)


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return Jobs(database)


def row(root: Connection, dispatch: int) -> dict[str, Any]:
    with root.cursor() as cursor:
        cursor.execute("SELECT * FROM ai_job_dispatches WHERE id = %s", (dispatch,))
        found = cursor.fetchone()
    assert found is not None
    return found


def audits(root: Connection, event: str) -> list[dict[str, Any]]:
    with root.cursor() as cursor:
        cursor.execute("SELECT * FROM worker_audit_logs WHERE event = %s ORDER BY id", (event,))
        return list(cursor.fetchall())


@pytest.mark.parametrize(
    ("changes", "waiting", "demand"),
    [
        pytest.param({}, 1, 1, id="queued"),
        pytest.param({"attempts": 2}, 1, 1, id="queued with an attempt left"),
        pytest.param({"attempts": 3}, 0, 0, id="queued without an attempt left: nobody may take it"),
        pytest.param(leased(600), 0, 1, id="leased"),
        pytest.param(leased(600, attempts=3), 0, 1, id="leased for the last time: being worked on"),
        pytest.param(leased(-1), 1, 1, id="lease expired with attempts left: the backend hands it out again"),
        pytest.param(leased(-1, attempts=3), 0, 0, id="stuck: reported, no demand"),
        pytest.param({"provider": "cloud"}, 0, 0, id="runs elsewhere"),
        pytest.param({"provider": "cloud"} | leased(600), 0, 0, id="is being run elsewhere"),
        pytest.param({"status": "completed"}, 0, 0, id="completed"),
        pytest.param({"status": "failed", "attempts": 1}, 0, 0, id="failed"),
    ],
)
def test_what_waits_and_what_is_demand(
    jobs: Jobs, job: Add, changes: dict[str, Any], waiting: int, demand: int
) -> None:
    job(**changes)
    assert (jobs.waiting(SLUGS), jobs.demand(SLUGS)) == (waiting, demand)
    assert (jobs.waiting(("face-swap",)), jobs.demand(("face-swap",))) == (0, 0)


def test_jobs_of_a_deleted_workflow_are_nobodys_demand(jobs: Jobs, job: Add, root: Connection) -> None:
    job()
    root.cursor().execute("UPDATE workflows SET deleted_at = UTC_TIMESTAMP()")
    assert (jobs.waiting(SLUGS), jobs.demand(SLUGS), jobs.workflows()) == (0, 0, [])


def test_one_read_gives_every_lease_and_what_waits_since_when(
    jobs: Jobs, job: Add, insert: Insert, workflow: int
) -> None:
    other = insert("workflows", name="Face swap", slug="face-swap")
    job(created_at=ago(90))
    job(created_at=ago(300), attempts=1)
    job(created_at=ago(900), attempts=3)
    job(created_at=ago(900), provider="cloud")
    job(workflow_id=other)
    live, expired = job(**leased(600), lease_token="t-1"), job(**leased(-60, "i-2", attempts=3), lease_token="t-2")
    job(**leased(600), provider="cloud")
    found = jobs.live()
    now = jobs.now()
    queue = {r["workflow_id"]: r for r in found if r["kind"] == "queue"}
    assert {key: value["jobs"] for key, value in queue.items()} == {workflow: 2, other: 1}
    assert 299 <= (now - queue[workflow]["oldest_at"]).total_seconds() <= 302
    leases = {r["id"]: r for r in found if r["kind"] == "lease"}
    assert set(leases) == {live, expired}
    assert (leases[live]["lease_token"], leases[live]["worker_id"], leases[live]["attempts"]) == ("t-1", "i-1", 1)
    assert leases[live]["lease_expires_at"] > now > leases[expired]["lease_expires_at"]


def test_the_clock_is_naive_utc_in_whole_seconds(jobs: Jobs) -> None:
    now = jobs.now()
    assert now.tzinfo is None
    assert now.microsecond == 0
    assert isinstance(now, datetime)


def test_the_newest_job_of_a_workflow_is_its_last_sign_of_work(jobs: Jobs, job: Add, workflow: int) -> None:
    job(status="completed", updated_at=ago(900))
    job(status="completed", created_at=ago(120), updated_at=ago(60))
    (newest,) = jobs.newest()
    assert newest["workflow_id"] == workflow
    assert 59 <= (jobs.now() - newest["updated_at"]).total_seconds() <= 62


def test_a_job_that_runs_elsewhere_is_no_sign_of_work(jobs: Jobs, job: Add) -> None:
    job(status="completed", updated_at=ago(900))
    job(provider="cloud", status="completed", updated_at=ago(1))
    assert jobs.newest() == []


@pytest.mark.parametrize(("attempts", "left"), [(0, 0), (1, 0), (2, 1), (3, 2)])
def test_a_requeue_costs_the_job_no_attempt(jobs: Jobs, job: Add, root: Connection, attempts: int, left: int) -> None:
    dispatch = job(**leased(600, attempts=attempts), lease_token="t-1")
    assert jobs.requeue(dispatch, "t-1", "spot_interruption", 7, "i-1")
    after = row(root, dispatch)
    assert (after["status"], after["attempts"], after["last_error"]) == ("queued", left, "Requeued: spot_interruption")
    assert (after["worker_id"], after["lease_token"], after["lease_expires_at"]) == (None, None, None)
    (audit,) = audits(root, "requeued")
    assert (audit["worker_id"], audit["worker_identifier"], audit["dispatch_id"]) == (7, "i-1", dispatch)
    assert audit["metadata"] == '{"reason": "spot_interruption"}'


@pytest.mark.parametrize(
    ("changes", "token"),
    [
        pytest.param(leased(600) | {"lease_token": "t-2"}, "t-1", id="leased again since by another token"),
        pytest.param({"status": "completed", "lease_token": "t-1"}, "t-1", id="completed, the token still in place"),
        pytest.param({"status": "failed", "lease_token": "t-1"}, "t-1", id="failed, the token still in place"),
        pytest.param({}, "", id="queued: there is no lease"),
        pytest.param(leased(600), "", id="a lease without a token"),
    ],
)
def test_a_requeue_is_fenced_by_the_token(
    jobs: Jobs, job: Add, root: Connection, changes: dict[str, Any], token: str
) -> None:
    dispatch = job(**changes)
    before = row(root, dispatch)
    assert not jobs.requeue(dispatch, token, "spot_interruption", 7, "i-1")
    assert row(root, dispatch) == before
    assert audits(root, "requeued") == []


def test_the_same_requeue_twice_changes_nothing_more(jobs: Jobs, job: Add, root: Connection) -> None:
    dispatch = job(**leased(600, attempts=2), lease_token="t-1")
    assert jobs.requeue(dispatch, "t-1", "spot_interruption", 7, "i-1")
    after = row(root, dispatch)
    assert not jobs.requeue(dispatch, "t-1", "instance_terminated", 7, "i-1")
    assert row(root, dispatch) == after
    assert len(audits(root, "requeued")) == 1


def test_of_two_sessions_that_requeue_the_same_lease_one_wins(
    jobs: Jobs, job: Add, root: Connection, mariadb: MariaDb
) -> None:
    dispatch = job(**leased(600, attempts=3), lease_token="t-1")
    with closing(open_as(mariadb, USER, PASSWORD)) as other:
        won = [each.requeue(dispatch, "t-1", "spot_interruption", 7, "i-1") for each in (jobs, Jobs(other))]
    assert won == [True, False]
    assert row(root, dispatch)["attempts"] == 2


def test_when_a_job_was_last_leased_is_in_the_audit_log(jobs: Jobs, job: Add, audit: Add) -> None:
    first, second, third = job(), job(), job()
    audit("poll", first, 300)
    audit("poll", first, 40)
    audit("requeued", first, 100)
    audit("poll", second, 10)
    now, found = jobs.now(), jobs.leased_at([first, second, third])
    assert {key: round((now - at).total_seconds(), -1) for key, at in found.items()} == {first: 40, second: 10}


def test_nothing_is_asked_about_no_jobs(jobs: Jobs, database: Database) -> None:
    before = database.statements
    assert (jobs.leased_at([]), jobs.durations([])) == ({}, {})
    assert database.statements == before


def test_durations_are_those_of_first_attempts_that_were_completed(
    jobs: Jobs, job: Add, audit: Add, workflow: int, insert: Insert
) -> None:
    def done(seconds: int | None, **changes: Any) -> None:
        audit("complete", job(**({"status": "completed", "attempts": 1, "duration_seconds": seconds} | changes)), 60)

    for seconds in (30, 31, 31):
        done(seconds)
    done(999, attempts=2)
    done(None)
    done(5, status="queued")
    audit("fail", job(status="failed", attempts=1, duration_seconds=7), 60)
    other = insert("workflows", name="Other", slug="other")
    done(500, workflow_id=other)
    assert {key: sorted(found) for key, found in jobs.durations([workflow]).items()} == {workflow: [30.0, 31.0, 31.0]}
    assert jobs.durations([workflow, other])[other] == [500.0]


def test_a_requeued_job_is_left_out_whoever_gave_it_back(
    jobs: Jobs, job: Add, audit: Add, root: Connection, workflow: int
) -> None:
    """The requeue took its attempt back, so that it ends with one; its duration has the wait between the two in it."""
    first, again = job(), job(**leased(600), lease_token="t-1")
    assert jobs.requeue(again, "t-1", "spot_interruption", 7, "i-1")
    ended = "UPDATE ai_job_dispatches SET status = 'completed', attempts = 1, duration_seconds = id * 100"
    root.cursor().execute(ended)
    for dispatch in (first, again):
        audit("poll", dispatch, 90)
        audit("complete", dispatch, 60)
    assert jobs.durations([workflow]) == {workflow: [first * 100.0]}


def test_a_completion_written_twice_counts_once(jobs: Jobs, job: Add, audit: Add, workflow: int) -> None:
    dispatch = job(status="completed", attempts=1, duration_seconds=30)
    audit("complete", dispatch, 60)
    audit("complete", dispatch, 59)
    assert jobs.durations([workflow]) == {workflow: [30.0]}


def test_a_lease_tells_when_it_was_handed_out_until_a_heartbeat_renews_it(
    jobs: Jobs, job: Add, mariadb: MariaDb
) -> None:
    job()
    with closing(Backend(mariadb.connect, registrations_per_minute=None)) as backend:
        token = backend.register("i-1", list(SLUGS))
        taken = backend.poll(token)
        assert taken is not None
        (fresh,) = [rows.lease(found, {}) for found in jobs.live() if found["kind"] == "lease"]
        assert fresh.handed_out_at is not None
        assert abs((fresh.handed_out_at - jobs.now()).total_seconds()) < 5
        backend.heartbeat(token, taken.dispatch_id, taken.lease_token)
    (renewed,) = [rows.lease(found, {}) for found in jobs.live() if found["kind"] == "lease"]
    assert renewed.handed_out_at is None
