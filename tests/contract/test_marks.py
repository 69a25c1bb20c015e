"""Drains that are for good, and the log of registrations, against MariaDB."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from fleet_control.act.database import Database
from fleet_control.act.workers import MOST_REGISTRATIONS, Workers
from fleet_control.flows import rows

from lab.mariadb import Connection

from .conftest import Add, ago
from .test_workers import ME, audit_trail, by_hand, drained, draining


@pytest.fixture
def workers(database: Database) -> Workers:
    return Workers(database)


@pytest.fixture
def me(worker: Add) -> int:
    return worker(worker_id=ME, registration_source="fleet", created_at=ago(3600))


SPOT, GONE, WAITS = "spot_interruption", "instance_terminated", "terminating"


def mark(workers: Workers, row_id: int, reason: str) -> bool:
    if reason == WAITS:
        return workers.mark_terminating(row_id, ME)
    return workers.mark_interrupted(row_id, ME, reason)


@pytest.mark.parametrize(
    ("before", "then", "stands"),
    [
        pytest.param(None, WAITS, WAITS, id="a worker that serves"),
        pytest.param("idle", WAITS, WAITS, id="our idle drain: no longer to be undone"),
        pytest.param(WAITS, WAITS, WAITS, id="twice"),
        pytest.param(SPOT, WAITS, SPOT, id="the warning came first: its end stands"),
        pytest.param(GONE, WAITS, GONE, id="gone already"),
        pytest.param(WAITS, SPOT, SPOT, id="the warning came after: now there is an end"),
        pytest.param("rebalance", SPOT, SPOT, id="warned on its way down"),
    ],
)
def test_the_drain_that_says_most_stands(
    workers: Workers, me: int, root: Connection, *, before: str | None, then: str, stands: str
) -> None:
    if before in (WAITS, SPOT, GONE):
        mark(workers, me, before)
    elif before is not None:
        drained(workers, me, before)
    assert mark(workers, me, then) is (stands == then and before != then)
    assert draining(root, me)
    assert audit_trail(root, me)[-1] == ("fleet_drained", {"reason": stands})


def test_a_drain_that_was_made_final_says_enough(workers: Workers, me: int, root: Connection) -> None:
    workers.commit_drain(me, ME, drained(workers, me), "idle")
    assert not workers.mark_terminating(me, ME)
    assert audit_trail(root, me)[-1] == ("fleet_drained", {"reason": "idle", "committed": True})


def test_a_worker_that_was_given_back_can_be_marked_again(workers: Workers, me: int, root: Connection) -> None:
    drain_id = drained(workers, me)
    workers.undrain(me, ME, drain_id, "demand")
    by_hand(root, me, drain=True)
    assert workers.mark_terminating(me, ME)
    assert audit_trail(root, me)[-1] == ("fleet_drained", {"reason": WAITS})


def test_a_warning_keeps_which_jobs_may_finish_and_until_when(workers: Workers, me: int) -> None:
    until = datetime(2026, 1, 5, 12, 1, 45)  # noqa: DTZ001 - naive UTC
    workers.mark_interrupted(me, ME, SPOT, rows.last_jobs(until, {9, 7}))
    workers.mark_interrupted(me, ME, SPOT, rows.last_jobs(until.replace(minute=9), {8}))
    found = workers.one(ME)
    assert found is not None
    drain = rows.worker(found).drain
    assert drain is not None
    assert (drain.reason, drain.finish_by, drain.finishing) == (SPOT, until, frozenset({7, 9}))


@pytest.mark.parametrize("written", [{"finish_by": "soon", "finishing": "all"}, {"finish_by": 5, "finishing": ["7"]}])
def test_a_record_that_cannot_be_read_spares_nobody(workers: Workers, me: int, written: dict[str, Any]) -> None:
    workers.mark_interrupted(me, ME, SPOT, written)
    found = workers.one(ME)
    assert found is not None
    drain = rows.worker(found).drain
    assert drain is not None
    assert (drain.finish_by, drain.finishing) == (None, frozenset())


def test_registrations_come_newest_first_and_alone(workers: Workers, audit: Add) -> None:
    audit("registered", 0, 60, worker_identifier="i-1")
    audit("poll", 1, 30, worker_identifier="i-1")
    audit("registered", 0, 10, worker_identifier="i-2")
    found = workers.registrations()
    assert [row["worker_identifier"] for row in found] == ["i-2", "i-1"]
    assert found[0]["created_at"] > found[1]["created_at"]


def test_a_long_past_of_registrations_is_not_read(workers: Workers, database: Database, root: Connection) -> None:
    with root.cursor() as cursor:
        cursor.execute(
            "INSERT INTO worker_audit_logs (worker_identifier, event, created_at)"
            " SELECT CONCAT('i-', seq), 'registered', UTC_TIMESTAMP() FROM seq_1_to_5000"
        )
    before = _rows_read(database)
    assert len(workers.registrations()) == MOST_REGISTRATIONS
    assert _rows_read(database) - before < 2 * MOST_REGISTRATIONS


def _rows_read(database: Database) -> int:
    return sum(int(row["Value"]) for row in database.query("SHOW SESSION STATUS LIKE 'Handler_read%%'"))
