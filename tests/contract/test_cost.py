"""What a look costs the database: each statement on an index, and no dearer for a long past or for many fleets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fleet_control.act import jobs as job_statements
from fleet_control.act import workers as worker_statements
from fleet_control.act.database import Database
from fleet_control.act.jobs import Jobs
from fleet_control.act.workers import Workers
from fleet_control.flows.reconcile import Ports, reconcile

from lab.mariadb import Connection, empty_tables
from tests.flows.fakes import Stage, ports_of

from .conftest import Insert
from .history import live_among

SLUGS = ("a", "b")

CALLS: dict[str, Callable[[Jobs, Workers], object]] = {
    "workflows": lambda jobs, workers: jobs.workflows(),
    "live": lambda jobs, workers: jobs.live(),
    "newest": lambda jobs, workers: jobs.newest(),
    "waiting": lambda jobs, workers: jobs.waiting(SLUGS),
    "demand": lambda jobs, workers: jobs.demand(SLUGS),
    "leased_at": lambda jobs, workers: jobs.leased_at([4, 5, 6]),
    "durations": lambda jobs, workers: jobs.durations([1, 2]),
    "requeue": lambda jobs, workers: jobs.requeue(4, "another token", "spot_interruption", 1, "i-5"),
    "fleet": lambda jobs, workers: workers.fleet(),
    "registrations": lambda jobs, workers: workers.registrations(),
    "one": lambda jobs, workers: workers.one("i-4"),
    "leases": lambda jobs, workers: workers.leases("i-5"),
    "drain": lambda jobs, workers: workers.drain(1, "i-1", "idle"),
    "undrain": lambda jobs, workers: workers.undrain(4, "i-4", 1, "demand"),
    "mark_terminating": lambda jobs, workers: workers.mark_terminating(8, "i-8"),
    "mark_interrupted": lambda jobs, workers: workers.mark_interrupted(8, "i-8", "spot_interruption"),
    "commit_drain": lambda jobs, workers: workers.commit_drain(12, "i-12", 1, "idle"),
    "remove": lambda jobs, workers: workers.remove(20, "i-20"),
}


NEWEST_COMPLETIONS = 500
"""What the durations of jobs are taken from: read once a warning, and never more."""


def rows_read(database: Database, call: Callable[[], object]) -> int:
    """Rows the session looked at for one call, the cost of asking taken off."""

    def status() -> int:
        rows = database.query("SHOW SESSION STATUS LIKE 'Handler_read%%'")
        return sum(int(row["Value"]) for row in rows)

    status()
    first, second = status(), status()
    call()
    return status() - second - (second - first)


def test_no_statement_reads_more_for_a_past_ten_times_as_long(database: Database, root: Connection) -> None:
    jobs, workers = Jobs(database), Workers(database)
    reads: dict[int, dict[str, int]] = {}
    for past in (2_000, 20_000):
        empty_tables(root)
        live_among(root, past)
        reads[past] = {name: rows_read(database, partial(call, jobs, workers)) for name, call in CALLS.items()}
    assert {name: read for name, read in reads[20_000].items() if read > reads[2_000][name] + 2} == {}
    # Each is read, kept, looked up and told from its doubles.
    assert reads[20_000].pop("durations") < 4 * NEWEST_COMPLETIONS
    assert max(reads[20_000].values()) < 200


STATEMENTS: dict[str, tuple[Any, ...]] = {
    job_statements.WORKFLOWS: (),
    job_statements.LIVE: (),
    job_statements.NEWEST: (),
    job_statements.WAITING: (SLUGS,),
    job_statements.DEMAND: (SLUGS,),
    job_statements.LEASED_AT: ((4, 5, 6),),
    job_statements.DURATIONS: ((1, 2),),
    job_statements.REQUEUE: ("Requeued: x", 4, "token"),
    worker_statements.FLEET_WORKERS: ("i-%",),
    worker_statements.ONE_WORKER: ("i-4",),
    worker_statements.LEASES_OF: ("i-5",),
    worker_statements.REGISTRATIONS: (500,),
    worker_statements.LOCK: (4,),
    worker_statements.LOCK_OURS: (4, "i-4"),
    worker_statements.DRAIN: (1,),
    worker_statements.UNDRAIN: (4,),
    worker_statements.NEWEST_DRAIN: (4,),
    worker_statements.FORGET_WORKFLOWS: (4,),
    worker_statements.FORGET: (4,),
}

# Small whatever the history: a handful of workflows, and at most the fifty workers a stage may have.
SMALL = {"workflows", "w", "<derived2>", "<union1,2>", None}


def bounded(step: dict[str, Any]) -> bool:
    """Read from the end of an index and stopped by its own LIMIT, which the estimate of rows leaves out."""
    return bool(step["key"] == "worker_audit_logs_event_index")


def test_every_statement_is_on_an_index(database: Database, root: Connection) -> None:
    live_among(root, 5_000)
    steps = [step for sql, params in STATEMENTS.items() for step in database.query(f"EXPLAIN {sql}", params)]
    read = [step for step in steps if step["table"] not in SMALL]
    assert len(read) >= len(STATEMENTS)
    many = [step for step in read if step["key"] and int(step["rows"].split()[0]) > 100 and not bounded(step)]
    assert [step for step in read if step["key"] is None] + many == []


def test_every_statement_of_jobs_and_workers_is_explained() -> None:
    modules = vars(job_statements) | vars(worker_statements)
    named = {
        name: text
        for name, text in modules.items()
        if name.isupper() and not name.startswith("_") and isinstance(text, str) and " " in text
    }
    assert {name for name, text in named.items() if text not in STATEMENTS} == {"AUDIT"}


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
