"""What a look costs the database: each statement on an index, and no dearer for a long past or for many fleets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
from fleet_control.act import jobs as job_statements
from fleet_control.act import queue_metrics
from fleet_control.act.database import Database
from fleet_control.act.jobs import Jobs
from fleet_control.act.tenants import USER
from fleet_control.act.workers import Workers
from fleet_control.flows.reconcile import Ports, reconcile

from lab.mariadb import Connection, MariaDb, empty_tables
from tests.flows.fakes import Stage, ports_of

from .conftest import PASSWORD, Insert, open_as
from .history import live_among
from .plans import EXCEPTED, JUDGED, faults, statements

LONG = 50_000
DEPTH = queue_metrics.LIVE


@pytest.fixture(scope="module")
def pasts(mariadb: MariaDb) -> Iterator[Callable[[int], Connection]]:
    """A session on a stage with so long a past; the stage is made anew where the past is another."""
    made: list[int] = []
    with mariadb.connect() as root:

        def of(past: int) -> Connection:
            if made[-1:] != [past]:
                empty_tables(root)
                live_among(root, past)
                made.append(past)
            return root

        yield of
        empty_tables(root)


@pytest.fixture
def as_product(mariadb: MariaDb) -> Iterator[Database]:
    with closing(open_as(mariadb, USER, PASSWORD)) as session:
        yield session


def test_every_statement_of_the_adapters_is_judged() -> None:
    found = statements()
    judged = {*JUDGED, *EXCEPTED}
    assert sorted(where for text, where in found.items() if text not in judged) == []
    assert judged <= found.keys()


def test_every_statement_is_on_an_index_of_the_contract(
    pasts: Callable[[int], Connection], as_product: Database
) -> None:
    pasts(LONG)
    rows = as_product.query("SELECT DISTINCT index_name AS name FROM information_schema.statistics")
    indexes = {row["name"] for row in rows}
    plans = {sql: as_product.query(f"EXPLAIN {sql}", judged.params) for sql, judged in JUDGED.items()}
    found = {sql: faults(plan, JUDGED[sql], indexes) for sql, plan in plans.items()}
    assert {statements()[sql]: steps for sql, steps in found.items() if steps} == {}


def test_no_statement_reads_more_for_a_past_ten_times_as_long(
    pasts: Callable[[int], Connection], as_product: Database
) -> None:
    reads = {}
    for past in (LONG, LONG // 10):
        pasts(past)
        reads[past] = {sql: rows_read(as_product, sql, judged.params) for sql, judged in JUDGED.items()}
    found = {statements()[sql]: (reads[LONG // 10][sql], read) for sql, read in reads[LONG].items()}
    assert {where: both for where, both in found.items() if both[1] > 1.05 * both[0] + 2} == {}
    assert {statements()[sql]: read for sql, read in reads[LONG].items() if read > JUDGED[sql].most} == {}


def test_once_most_of_the_table_waits_it_is_still_read_by_an_index(
    pasts: Callable[[int], Connection], as_product: Database
) -> None:
    """Where a tenth of the rows qualifies, the server would rather read them all."""
    with pasts(LONG).cursor() as cursor:
        cursor.execute("UPDATE ai_job_dispatches SET status = 'queued', attempts = 0 WHERE id % 5 = 0")
        cursor.execute("ANALYZE TABLE ai_job_dispatches")
    waiting = as_product.query("SELECT COUNT(*) AS n FROM ai_job_dispatches WHERE status = 'queued'")[0]["n"]
    queue = (job_statements.LIVE, job_statements.BACKLOG)
    reads = {sql: rows_read(as_product, sql, JUDGED[sql].params) for sql in (*queue, DEPTH)}
    pasts(0)
    assert waiting > LONG / 6
    assert {statements()[sql]: reads[sql] for sql in queue if reads[sql] > 1.1 * waiting} == {}
    assert reads[DEPTH] < 4 * waiting, "each row once by the index, and up to three times in temporary tables"


def rows_read(database: Database, sql: str, params: Any) -> int:
    """Rows the session's handlers looked at for one statement, the cost of asking taken off. Changes are undone."""

    def status() -> int:
        rows = database.query("SHOW SESSION STATUS LIKE 'Handler_read%%'")
        return sum(int(row["Value"]) for row in rows)

    status()
    first, second = status(), status()
    with suppress(Undone), database.transaction() as transaction:
        transaction.query(sql, params)
        raise Undone
    return status() - second - (second - first)


class Undone(Exception):  # noqa: N818 - nothing went wrong
    """Ends a transaction without its changes."""


def test_a_look_takes_as_many_statements_for_fifty_fleets_as_for_one(database: Database, insert: Insert) -> None:
    stage, statements = Stage(), {}
    ports = ports_of(stage, Ports, worker_limit=500, database=database, jobs=Jobs(database), workers=Workers(database))
    for number in range(50):
        slug = f"workflow-{number}"
        stage.fleet(slug)
        workflow = insert("workflows", name=slug, slug=slug)
        insert("ai_job_dispatches", tenant_id="t", tenant_job_id=number, provider="self_hosted", workflow_id=workflow)
        if number in (0, 49):
            reconcile(ports, "Tick")
            before = database.statements
            assert reconcile(ports, "Tick").fleets == number + 1
            statements[number + 1] = database.statements - before
    assert len(stage.made("set_desired")) == 50
    assert statements[50] == statements[1] <= 8
