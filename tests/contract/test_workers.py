"""Workers and drains against MariaDB: whose drain it is, when it may be undone, when it is final."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from fleet_control.act.database import Database
from fleet_control.act.jobs import Jobs
from fleet_control.act.tenants import USER
from fleet_control.act.workers import Workers

from lab.mariadb import Connection, MariaDb

from .conftest import PASSWORD, Add, ago, leased, open_as

ME = "i-0a1b2c3d4e5f60718"


@pytest.fixture
def workers(database: Database) -> Workers:
    return Workers(database)


@pytest.fixture
def me(worker: Add) -> int:
    return worker(worker_id=ME, registration_source="fleet", created_at=ago(3600))


def draining(root: Connection, row_id: int) -> bool:
    with root.cursor() as cursor:
        cursor.execute("SELECT is_draining FROM comfy_ui_workers WHERE id = %s", (row_id,))
        found = cursor.fetchone()
    assert found is not None
    return bool(found["is_draining"])


def by_hand(root: Connection, row_id: int, *, drain: bool) -> None:
    root.cursor().execute("UPDATE comfy_ui_workers SET is_draining = %s WHERE id = %s", (drain, row_id))


def audit_trail(root: Connection, row_id: int) -> list[tuple[str, dict[str, Any]]]:
    with root.cursor() as cursor:
        cursor.execute("SELECT event, metadata FROM worker_audit_logs WHERE worker_id = %s ORDER BY id", (row_id,))
        return [(row["event"], json.loads(row["metadata"] or "{}")) for row in cursor.fetchall()]


def drained(workers: Workers, row_id: int, reason: str = "idle") -> int:
    drain_id = workers.drain(row_id, ME, reason)
    assert drain_id is not None
    return drain_id


def test_a_drain_sets_the_flag_and_says_whose_it_is(workers: Workers, me: int, root: Connection) -> None:
    drain_id = drained(workers, me)
    found = workers.one(ME)
    assert found is not None
    assert (found["is_draining"], found["drain_id"], found["drain_event"]) == (1, drain_id, "fleet_drained")
    assert audit_trail(root, me) == [("fleet_drained", {"reason": "idle"})]


def test_a_second_drain_is_none_of_ours(workers: Workers, me: int, root: Connection) -> None:
    drained(workers, me)
    assert workers.drain(me, ME, "scale_to_zero") is None
    assert len(audit_trail(root, me)) == 1


def test_an_admins_drain_is_neither_taken_over_nor_undone(workers: Workers, me: int, root: Connection) -> None:
    by_hand(root, me, drain=True)
    assert workers.drain(me, ME, "idle") is None
    assert not workers.undrain(me, ME, 1, "demand")
    assert not workers.commit_drain(me, ME, 1, "idle")
    assert draining(root, me)
    assert audit_trail(root, me) == []


def test_an_admins_drain_after_our_undrain_is_the_admins(workers: Workers, me: int, root: Connection) -> None:
    drain_id = drained(workers, me)
    assert workers.undrain(me, ME, drain_id, "demand")
    by_hand(root, me, drain=True)
    found = workers.one(ME)
    assert found is not None
    assert found["drain_event"] == "fleet_undrained"
    assert not workers.undrain(me, ME, drain_id, "demand")
    assert draining(root, me)


def test_our_drain_is_undone_once(workers: Workers, me: int, root: Connection) -> None:
    drain_id = drained(workers, me)
    assert workers.undrain(me, ME, drain_id, "demand has come back")
    assert not workers.undrain(me, ME, drain_id, "demand has come back")
    assert not draining(root, me)
    assert [event for event, _ in audit_trail(root, me)] == ["fleet_drained", "fleet_undrained"]


def test_a_drain_that_a_newer_one_has_replaced_is_not_undone(workers: Workers, me: int, root: Connection) -> None:
    old = drained(workers, me)
    assert workers.mark_interrupted(me, ME, "spot_interruption")
    assert not workers.undrain(me, ME, old, "demand")
    assert not workers.commit_drain(me, ME, old, "idle")
    assert draining(root, me)


def test_a_drain_undone_by_an_admin_is_neither_undone_nor_carried_through(
    workers: Workers, me: int, root: Connection
) -> None:
    drain_id = drained(workers, me)
    by_hand(root, me, drain=False)
    assert not workers.commit_drain(me, ME, drain_id, "idle")
    assert not workers.undrain(me, ME, drain_id, "demand")
    assert not draining(root, me)


def test_a_final_drain_is_never_undone_by_either_of_its_rows(workers: Workers, me: int, root: Connection) -> None:
    drain_id = drained(workers, me)
    assert workers.commit_drain(me, ME, drain_id, "idle")
    found = workers.one(ME)
    assert found is not None
    assert json.loads(found["drain_metadata"]) == {"reason": "idle", "committed": True}
    assert not workers.undrain(me, ME, drain_id, "demand")
    assert not workers.undrain(me, ME, found["drain_id"], "demand")
    assert draining(root, me)
    assert len(audit_trail(root, me)) == 2


def test_a_drain_is_made_final_once(workers: Workers, me: int, root: Connection) -> None:
    drain_id = drained(workers, me)
    assert workers.commit_drain(me, ME, drain_id, "idle")
    assert not workers.commit_drain(me, ME, drain_id, "idle")
    assert len(audit_trail(root, me)) == 2


@pytest.mark.parametrize(
    ("lease", "final"),
    [
        pytest.param(leased(600, ME), False, id="a job slipped in"),
        pytest.param(leased(600, "i-2"), True, id="somebody else's job"),
        pytest.param(leased(-60, ME), True, id="a lease that is over"),
    ],
)
def test_no_drain_is_made_final_over_a_live_lease(
    workers: Workers, me: int, job: Add, lease: dict[str, Any], final: bool
) -> None:
    drain_id = drained(workers, me)
    job(**lease)
    assert workers.commit_drain(me, ME, drain_id, "idle") is final


@pytest.mark.parametrize("before", ["nothing", "our drain", "an admin's drain", "a final drain"])
def test_an_interruption_drains_for_good_whoever_drained_before(
    workers: Workers, me: int, root: Connection, before: str
) -> None:
    if before == "an admin's drain":
        by_hand(root, me, drain=True)
    elif before != "nothing":
        drain_id = drained(workers, me)
        assert before == "our drain" or workers.commit_drain(me, ME, drain_id, "idle")
    assert workers.mark_interrupted(me, ME, "spot_interruption")
    assert not workers.mark_interrupted(me, ME, "spot_interruption")
    assert draining(root, me)
    assert audit_trail(root, me)[-1] == ("fleet_drained", {"reason": "spot_interruption"})


def test_an_interruption_marks_again_what_somebody_has_undrained(workers: Workers, me: int, root: Connection) -> None:
    assert workers.mark_interrupted(me, ME, "spot_interruption")
    by_hand(root, me, drain=False)
    assert workers.mark_interrupted(me, ME, "spot_interruption")
    assert draining(root, me)


def test_a_worker_that_is_not_there_cannot_be_drained(workers: Workers, me: int) -> None:
    assert workers.drain(me + 1, "i-2", "idle") is None
    assert not workers.mark_interrupted(me + 1, "i-2", "spot_interruption")
    assert workers.one("i-2") is None


def test_a_removed_worker_leaves_only_its_audit_rows(workers: Workers, me: int, root: Connection) -> None:
    assert workers.remove(me, ME)
    assert not workers.remove(me, ME)
    assert workers.fleet() == []
    assert audit_trail(root, me) == [("stale_cleanup", {"reason": "instance no longer exists"})]
    with root.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) AS n FROM worker_workflows")
        assert cursor.fetchone() == {"n": 0}


@pytest.mark.parametrize(
    ("source", "name"),
    [pytest.param("admin", ME, id="an admin's worker"), pytest.param("fleet", "i-9", id="reused row id")],
)
def test_only_the_fleets_worker_of_that_name_is_removed(
    workers: Workers, worker: Add, root: Connection, source: str, name: str
) -> None:
    row_id = worker(worker_id=name, registration_source=source)
    assert not workers.remove(row_id, ME)
    with root.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) AS kept FROM comfy_ui_workers w JOIN worker_workflows x ON x.worker_id = w.id")
        assert cursor.fetchone() == {"kept": 1}


def test_only_workers_on_instances_of_the_fleet_are_seen(workers: Workers, worker: Add, me: int) -> None:
    worker(worker_id="i-77777777", registration_source="admin")
    worker(worker_id="workstation", registration_source="fleet")
    assert [found["id"] for found in workers.fleet()] == [me]


def test_the_last_activity_is_the_newest_audit_row(workers: Workers, me: int, audit: Add) -> None:
    audit("registered", 0, 900, worker_id=me)
    audit("poll", 1, 300, worker_id=me)
    audit("poll", 1, 10, worker_id=me + 1)
    found = workers.one(ME)
    assert found is not None
    assert 299 <= (found["last_seen_at"] - found["active_at"]).total_seconds() + 3 <= 302
    assert (found["drain_id"], found["drain_event"]) == (None, None)


def test_registrations_are_remembered_newest_first_whatever_became_of_the_row(workers: Workers, audit: Add) -> None:
    audit("registered", 0, 900, worker_identifier="i-2")
    audit("registered", 0, 300, worker_identifier=ME)
    audit("stale_cleanup", 0, 10, worker_identifier="i-2")
    assert [row["worker_identifier"] for row in workers.registrations()] == [ME, "i-2"]


def test_who_else_was_heard_of_is_the_newest_of_the_other_fleet_workers(
    workers: Workers, worker: Add, me: int, database: Database
) -> None:
    assert workers.heard_beside(ME) is None
    for name, seen in (("i-2", ago(40)), ("i-3", ago(400)), ("i-4", None)):
        worker(worker_id=name, last_seen_at=seen, registration_source="fleet")
    worker(worker_id="rig-1", last_seen_at=ago(1), registration_source="admin")
    found, now = workers.heard_beside(ME), Jobs(database).now()
    assert found is not None
    assert 39 <= (now - found).total_seconds() <= 42


def test_metadata_of_somebody_elses_making_does_not_stop_a_look(workers: Workers, me: int, audit: Add) -> None:
    audit("fleet_drained", 0, 5, worker_id=me, metadata="[1, 2]")
    drain_id = drained(workers, me)
    assert workers.undrain(me, ME, drain_id, "demand")


def test_leases_of_a_worker_are_its_own_live_or_expired(workers: Workers, me: int, job: Add) -> None:
    mine = {job(**leased(600, ME)), job(**leased(-5, ME, attempts=3))}
    job(**leased(600, "i-2"))
    job(status="completed", worker_id=ME)
    assert {found["id"] for found in workers.leases(ME)} == mine


def while_locked(root: Connection, row_id: int, change: Callable[[], None], attempt: Callable[[], object]) -> object:
    """Another session locks the worker's row and changes it; what does `attempt`, waiting meanwhile, come to?"""
    answers: list[object] = []
    root.begin()
    with root.cursor() as cursor:
        cursor.execute("SELECT id FROM comfy_ui_workers WHERE id = %s FOR UPDATE", (row_id,))
    waiting = threading.Thread(target=lambda: answers.append(attempt()))
    waiting.start()
    change()
    waiting.join(0.3)
    assert waiting.is_alive(), "it did not wait for the row"
    root.commit()
    waiting.join(3)
    return answers[0]


def test_an_undrain_that_waits_for_the_final_drain_is_refused(workers: Workers, me: int, root: Connection) -> None:
    drain_id = drained(workers, me)

    def make_final() -> None:
        root.cursor().execute(
            "INSERT INTO worker_audit_logs (worker_id, event, metadata, created_at) VALUES (%s, 'fleet_drained', "
            """'{"reason": "idle", "committed": true}', UTC_TIMESTAMP())""",
            (me,),
        )

    assert while_locked(root, me, make_final, lambda: workers.undrain(me, ME, drain_id, "demand")) is False
    assert draining(root, me)


def test_a_final_drain_that_waits_for_the_undrain_is_refused(
    workers: Workers, me: int, root: Connection, mariadb: MariaDb
) -> None:
    drain_id = drained(workers, me)

    def undrain() -> None:
        root.cursor().execute("UPDATE comfy_ui_workers SET is_draining = 0 WHERE id = %s", (me,))

    assert while_locked(root, me, undrain, lambda: workers.commit_drain(me, ME, drain_id, "idle")) is False
    with closing(open_as(mariadb, USER, PASSWORD)) as other:
        assert not Workers(other).undrain(me, ME, drain_id, "demand")
    assert not draining(root, me)


def test_of_two_sessions_that_drain_one_wins(workers: Workers, me: int, root: Connection, mariadb: MariaDb) -> None:
    with closing(open_as(mariadb, USER, PASSWORD)) as other:
        answers = [workers.drain(me, ME, "idle"), Workers(other).drain(me, ME, "scale_to_zero")]
    assert answers[0] is not None
    assert answers[1] is None
    assert len(audit_trail(root, me)) == 1
