"""What a look costs that has much to change: statements and calls by the change, and never more than its turn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fleet_control.act.database import Database
from fleet_control.act.ec2 import Ec2Instance
from fleet_control.act.jobs import Jobs
from fleet_control.act.workers import Workers
from fleet_control.decide.turn import MOST
from fleet_control.flows.reconcile import Ports, reconcile

from lab.mariadb import Connection
from tests.flows.fakes import Stage, ago, group_name, ports_of

READS = 7
"""Statements of a look that changes nothing: the lock and its release, and five reads."""


class Look:
    """Looks at a stage of fakes with the real database; each tells what it sent."""

    def __init__(self, database: Database) -> None:
        self.stage = Stage()
        self._database = database
        own = {"database": database, "jobs": Jobs(database), "workers": Workers(database)}
        self._ports = ports_of(self.stage, Ports, worker_limit=10_000, **own)
        database.query("SELECT 1")

    def __call__(self) -> int:
        """Statements of one look, those of setting a session up left out."""
        before = self._database.statements
        assert reconcile(self._ports, "Tick").failures == 0
        return self._database.statements - before

    def put_off(self) -> list[dict[str, Any]]:
        return [told["numbers"] for told in self.stage.recorder.decisions if told["rule"] == "put off"]


@pytest.fixture
def look(database: Database) -> Look:
    return Look(database)


def workers(root: Connection, fleets: int, *, event: str = "registered", draining: int = 0) -> None:
    """Two to a fleet, as instances i-<fleet>-1 and i-<fleet>-2, quiet for an hour."""
    with root.cursor() as cursor:
        cursor.execute(
            f"""INSERT INTO comfy_ui_workers (id, worker_id, registration_source, is_approved, is_draining,
                                              last_seen_at, created_at)
                SELECT seq, CONCAT('i-', (seq + 1) DIV 2, '-', 2 - seq % 2), 'fleet', 1, {draining}, UTC_TIMESTAMP(),
                       UTC_TIMESTAMP() - INTERVAL 1 HOUR FROM seq_1_to_{2 * fleets}"""  # noqa: S608
        )
        cursor.execute(
            """INSERT INTO worker_audit_logs (worker_id, worker_identifier, event, metadata, created_at)
               SELECT id, worker_id, %s, '{"reason": "idle"}', UTC_TIMESTAMP() - INTERVAL 1 HOUR
               FROM comfy_ui_workers""",
            (event,),
        )


def fleets(stage: Stage, root: Connection, count: int, *, jobs: int = 0) -> None:
    """Fleets of two instances each."""
    for number in range(1, count + 1):
        name = stage.fleet(f"w-{number}", desired=2)
        ids = [f"i-{number}-1", f"i-{number}-2"]
        for one in ids:
            stage.instance(one, f"w-{number}")
        assert stage.groups[name].instances
    with root.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO workflows (id, name, slug) SELECT seq, seq, CONCAT('w-', seq) FROM seq_1_to_{count}"  # noqa: S608
        )
        if jobs:
            cursor.execute(
                """INSERT INTO ai_job_dispatches (tenant_id, tenant_job_id, provider, workflow_id, status, created_at)
                   SELECT 't', id * 100 + seq, 'self_hosted', id, 'queued', UTC_TIMESTAMP() FROM workflows
                   JOIN seq_1_to_4"""
            )


def test_a_hundred_idle_fleets_are_drained_in_turns_at_four_statements_and_a_call_each(
    look: Look, root: Connection
) -> None:
    fleets(look.stage, root, 100)
    workers(root, 100)
    most = MOST["scale_in"]
    for n in range(1, 100 // most + 1):
        assert look() == READS + 4 * most
        assert len(look.stage.made("start")) == n * most
    assert [told["scale_in"] for told in look.put_off()] == [80, 60, 40, 20]
    assert len({name for (name,) in look.stage.made("start")}) == 100


def test_a_pool_that_vanishes_is_cleaned_up_in_turns_jobs_before_rows(look: Look, root: Connection) -> None:
    """125 fleets lose both their instances, and each of these held a job."""
    fleets(look.stage, root, 125)
    workers(root, 125)
    with root.cursor() as cursor:
        cursor.execute(
            """INSERT INTO ai_job_dispatches (tenant_id, tenant_job_id, provider, workflow_id, status, attempts,
                                              worker_id, lease_token, lease_expires_at, created_at)
               SELECT 't', id, 'self_hosted', (id + 1) DIV 2, 'leased', 1, worker_id, UUID(),
                      UTC_TIMESTAMP() + INTERVAL 900 SECOND, UTC_TIMESTAMP() FROM comfy_ui_workers"""
        )
    gone = {name: Ec2Instance(name, "terminated", ago(3600)) for name in look.stage.instances}
    look.stage.instances |= gone
    look.stage.groups = {name: replace(group, instances=()) for name, group in look.stage.groups.items()}
    first, second = look(), look()
    short = READS + 1  # and who registered, since there are fewer than desired
    assert first == short + 4 * MOST["requeue"] + 6 * MOST["remove"]
    assert second == short + 4 * 50 + 6 * MOST["remove"]
    left = [(rows(root, "ai_job_dispatches WHERE status = 'leased'"), rows(root, "comfy_ui_workers"))]
    while look() > short:
        left.append((rows(root, "ai_job_dispatches WHERE status = 'leased'"), rows(root, "comfy_ui_workers")))
    assert left == [(0, 150), (0, 100), (0, 50), (0, 0)]


def rows(root: Connection, which: str) -> int:
    with root.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) AS n FROM {which}")  # noqa: S608
        return int(cursor.fetchall()[0]["n"])


def test_our_drains_are_undone_in_turns_at_six_statements_each(look: Look, root: Connection) -> None:
    fleets(look.stage, root, 40, jobs=4)
    workers(root, 40, event="fleet_drained", draining=1)
    look.stage.running = {f"i-{n // 2 + 1}-{n % 2 + 1}-{n + 1}-0" for n in range(80)}
    assert look() == READS + 6 * MOST["undo"]
    assert look() == READS + 6 * (80 - MOST["undo"])
    assert rows(root, "comfy_ui_workers WHERE is_draining") == 0
    assert look.put_off() == [{"undo": 80 - MOST["undo"]}]


def test_a_rise_or_a_hundred_of_them_takes_one_statement_in_all_and_a_call_each(look: Look, root: Connection) -> None:
    fleets(look.stage, root, 100, jobs=4)
    look.stage.groups = {n: replace(g, desired=0, instances=()) for n, g in look.stage.groups.items()}
    assert (look(), len(look.stage.made("set_desired"))) == (READS + 1, MOST["desired"])
    assert (look(), len(look.stage.made("set_desired"))) == (READS + 1, 100)
    assert {group for group, _ in look.stage.made("set_desired")} == {group_name(f"w-{n}") for n in range(1, 101)}
