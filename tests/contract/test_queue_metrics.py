"""The contract's metrics read from real rows, by SQL that stays on the contract's indexes."""

from datetime import UTC, datetime, timedelta

import pytest
from fleet_control.act.database import Database
from fleet_control.act.queue_metrics import FINISHED, GIVEN_BACK, LIVE, WORKERS, QueueMetrics

from lab.mariadb import Connection

from .conftest import Add, Insert, ago, leased


@pytest.fixture
def metrics(database: Database) -> QueueMetrics:
    return QueueMetrics(database)


def test_the_clock_is_readable_before_any_workflow_exists(metrics: QueueMetrics) -> None:
    now, workflows = metrics.workflows()
    assert abs(now.replace(tzinfo=UTC) - datetime.now(UTC)) < timedelta(seconds=5)
    assert workflows == {}


def test_every_workflow_is_told_with_its_state(metrics: QueueMetrics, insert: Insert) -> None:
    insert("workflows", name="a", slug="on")
    insert("workflows", name="b", slug="off", is_active=0)
    insert("workflows", name="c", slug="gone", deleted_at=ago(60))
    found = {row["slug"]: (row["active"], row["deleted"]) for row in metrics.workflows()[1].values()}
    assert found == {"on": (1, 0), "off": (0, 0), "gone": (1, 1)}


def test_depth_counts_queued_and_leased_below_the_last_attempt(metrics: QueueMetrics, workflow: int, job: Add) -> None:
    job()
    job(attempts=2)
    job(attempts=3)  # nobody may lease it
    job(**leased(600))
    job(**leased(600, attempts=3))  # its last attempt is running
    job(provider="cloud")
    job(provider="local")
    job(status="completed")
    job(status="failed")
    row = metrics.live()[workflow]
    assert (row["depth"], row["waiting"]) == (3, 2)


def test_expired_and_stuck_leases_are_told_apart(metrics: QueueMetrics, workflow: int, job: Add) -> None:
    job(**leased(600))
    job(**leased(-1))
    job(**leased(-1, attempts=3))
    job(provider="cloud", **leased(-1, attempts=3))
    row = metrics.live()[workflow]
    assert (row["expired"], row["stuck"]) == (2, 1)


def test_the_oldest_waiting_job_gives_the_age(metrics: QueueMetrics, workflow: int, job: Add) -> None:
    job(created_at=ago(40))
    job(created_at=ago(90))
    job(created_at=ago(900), attempts=3)
    job(created_at=ago(900), provider="cloud")
    job(created_at=ago(900), **leased(600))
    assert 90 <= metrics.live()[workflow]["oldest_age"] <= 93


def test_no_waiting_job_has_no_age(metrics: QueueMetrics, workflow: int, job: Add) -> None:
    job(**leased(600))
    assert metrics.live()[workflow]["oldest_age"] is None


def test_active_workers_are_approved_and_seen_within_five_minutes(
    metrics: QueueMetrics, workflow: int, worker: Add
) -> None:
    worker()
    worker(last_seen_at=ago(295))
    worker(is_draining=1)
    worker(registration_source="fleet")
    worker(last_seen_at=ago(303))
    worker(last_seen_at=None)
    worker(is_approved=0)
    assert metrics.workers()[workflow]["workers"] == 4


def test_capacity_counts_free_slots_by_the_leases_really_held(
    metrics: QueueMetrics, workflow: int, worker: Add, job: Add
) -> None:
    worker(worker_id="i-free", max_concurrency=2, current_load=2)  # its own word does not count
    worker(worker_id="i-half", max_concurrency=2)
    worker(worker_id="i-over", max_concurrency=1)
    worker(worker_id="i-late", max_concurrency=1)  # its lease has expired: not held any more
    worker(worker_id="i-draining", max_concurrency=4, is_draining=1)
    job(**leased(600, "i-half"))
    for _ in range(3):
        job(**leased(600, "i-over"))
    job(**leased(-5, "i-late"))
    assert metrics.workers()[workflow]["capacity"] == 2 + 1 + 0 + 1


def test_a_worker_of_two_workflows_counts_in_both(
    metrics: QueueMetrics, workflow: int, worker: Add, insert: Insert
) -> None:
    other = insert("workflows", name="Face swap", slug="face-swap")
    row = worker(max_concurrency=2)
    insert("worker_workflows", worker_id=row, workflow_id=other)
    assert {key: (r["workers"], r["capacity"]) for key, r in metrics.workers().items()} == {
        workflow: (1, 2),
        other: (1, 2),
    }


@pytest.mark.parametrize(
    ("durations", "median"),
    [([7], 7), ([3, 9], 6), ([10, 100, 20], 20), ([1, 2, 4, 1000], 3), ([2, 3], 2.5)],
)
def test_the_median_is_of_the_jobs_completed_in_ten_minutes(
    metrics: QueueMetrics, job: Add, audit: Add, durations: list[int], median: float
) -> None:
    for duration in durations:
        audit("complete", job(status="completed", duration_seconds=duration), 590)
    audit("complete", job(status="completed", duration_seconds=50_000), 605)
    audit("complete", job(status="completed", duration_seconds=50_000, provider="cloud"), 10)
    audit("fail", job(status="failed", duration_seconds=50_000), 10)
    assert [row["p50"] for row in metrics.finished().values()] == [median]


def test_a_completion_written_twice_counts_once(metrics: QueueMetrics, workflow: int, job: Add, audit: Add) -> None:
    twice = job(status="completed", duration_seconds=100)
    audit("complete", twice, 20)
    audit("complete", twice, 10)
    audit("complete", job(status="completed", duration_seconds=200), 10)
    assert metrics.finished()[workflow] == {"p50": 150, "completed": 2, "failed": 0}


def test_failures_count_for_five_minutes_and_have_no_median(
    metrics: QueueMetrics, workflow: int, job: Add, audit: Add
) -> None:
    audit("fail", job(status="failed"), 290)
    audit("fail", job(status="failed"), 305)
    assert metrics.finished()[workflow] == {"p50": None, "completed": 0, "failed": 1}


def test_a_failed_job_that_was_queued_again_is_no_failure(metrics: QueueMetrics, job: Add, audit: Add) -> None:
    audit("fail", job(status="queued"), 10)
    assert metrics.finished() == {}


def test_medians_of_workflows_do_not_mix(
    metrics: QueueMetrics, workflow: int, job: Add, audit: Add, insert: Insert
) -> None:
    other = insert("workflows", name="Face swap", slug="face-swap")
    audit("complete", job(status="completed", duration_seconds=10), 10)
    audit("complete", job(status="completed", duration_seconds=30, workflow_id=other), 10)
    assert {key: row["p50"] for key, row in metrics.finished().items()} == {workflow: 10, other: 30}


def test_only_requeues_that_mean_spot_are_interruptions(
    metrics: QueueMetrics, workflow: int, job: Add, audit: Add
) -> None:
    reasons = ["spot_interruption", "capacity_rebalance", "instance_terminated", "worker_lost"]
    for reason in reasons:
        audit("requeued", job(), 30, metadata=f'{{"reason": "{reason}"}}')
    audit("requeued", job(), 30)
    audit("poll", job(), 30, metadata='{"reason": "spot_interruption"}')
    now, _ = metrics.workflows()
    assert metrics.given_back(now - timedelta(seconds=60), now)[workflow] == {"interruptions": 2, "going_round": 0}


def test_windows_tile_the_time_each_requeue_counts_in_exactly_one(
    metrics: QueueMetrics, workflow: int, job: Add, insert: Insert
) -> None:
    start = datetime(2026, 1, 5, 12, 0, 0)  # noqa: DTZ001 - the database's time is naive UTC
    for second in (0, 59, 60, 119, 120):
        insert(
            "worker_audit_logs",
            event="requeued",
            dispatch_id=job(),
            metadata='{"reason": "spot_interruption"}',
            created_at=start + timedelta(seconds=second),
        )
    counts = [
        metrics.given_back(start + timedelta(minutes=m), start + timedelta(minutes=m + 1))
        .get(workflow, {})
        .get("interruptions")
        for m in range(-1, 4)
    ]
    assert counts == [None, 2, 2, 1, None]


GOING_ROUND: dict[str, tuple[list[str], list[str], int | None]] = {
    "the third time": (["comfyui_dead", "worker_lost"], ["comfyui_dead"], 1),
    "three times in one minute": ([], ["worker_trouble"] * 3, 1),
    "the second time": (["comfyui_dead"], ["comfyui_dead"], 0),
    "Spot had its part in it": (["spot_interruption"] * 5, ["comfyui_dead"], 0),
    "Spot took it this time": (["comfyui_dead"] * 4, ["capacity_rebalance"], 0),
    "quiet in this minute": (["comfyui_dead"] * 4, [], None),
    "nobody said why": (["", ""], [""], 1),
}
"""Reasons of an earlier time → reasons of the window's → jobs that go round; None is no row for the workflow."""


@pytest.mark.parametrize("name", GOING_ROUND)
def test_a_job_goes_round_when_it_is_given_back_for_the_third_time_and_not_by_spot(
    metrics: QueueMetrics, workflow: int, job: Add, audit: Add, name: str
) -> None:
    before, lately, expected = GOING_ROUND[name]
    going = job()
    for age, reasons in ((300, before), (30, lately)):
        for reason in reasons:
            audit("requeued", going, age, metadata=f'{{"reason": "{reason}"}}' if reason else None)
    now, _ = metrics.workflows()
    found = metrics.given_back(now - timedelta(seconds=60), now)
    assert found.get(workflow, {}).get("going_round") == expected


HISTORY = 20_000
OLD_JOBS = """
INSERT INTO ai_job_dispatches
    (tenant_id, tenant_job_id, provider, workflow_id, status, attempts, duration_seconds, created_at)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %s)
SELECT 'old', i, 'self_hosted', %s, 'completed', 1, 60, UTC_TIMESTAMP() - INTERVAL i + 3600 SECOND FROM n
"""


@pytest.fixture
def history(root: Connection, workflow: int, job: Add, audit: Add) -> None:
    """Old finished jobs with their audit rows, and a few live ones."""
    with root.cursor() as cursor:
        cursor.execute("SET SESSION max_recursive_iterations = 1000000")
        cursor.execute(OLD_JOBS, (HISTORY, workflow))
        cursor.execute(
            "INSERT INTO worker_audit_logs (event, dispatch_id, created_at)"
            " SELECT 'complete', id, created_at FROM ai_job_dispatches"
        )
        cursor.execute("ANALYZE TABLE ai_job_dispatches, worker_audit_logs")
    for _ in range(20):
        job()
        audit("complete", job(status="completed", duration_seconds=5), 10)


@pytest.mark.parametrize(
    ("name", "sql"),
    [
        ("live", LIVE),
        ("finished", FINISHED),
        ("given back", GIVEN_BACK % ("UTC_TIMESTAMP() - INTERVAL 60 SECOND", "UTC_TIMESTAMP()")),
    ],
)
def test_no_statement_reads_history(database: Database, history: None, name: str, sql: str) -> None:
    def rows_read() -> int:
        found = database.query("SHOW SESSION STATUS LIKE 'Handler_read%'")
        return sum(int(row["Value"]) for row in found)

    before = rows_read()
    database.query(sql)
    assert rows_read() - before < 500, f"{name} reads more than what is live or recent"


def test_workers_and_their_leases_are_joined_by_key(
    database: Database, root: Connection, worker: Add, job: Add
) -> None:
    """Each with each would be 25 million comparisons on a full stage."""
    for number in range(60):
        worker(worker_id=f"i-held-{number}")
        job(**leased(600, f"i-held-{number}"))
    root.query("ANALYZE TABLE ai_job_dispatches, comfy_ui_workers, worker_workflows")
    plan = database.query(f"EXPLAIN {WORKERS}")
    assert not [row for row in plan if "join buffer" in (row["Extra"] or "")]


def test_a_publication_takes_seven_statements_however_many_workflows(
    database: Database, metrics: QueueMetrics, insert: Insert
) -> None:
    for number in range(50):
        insert("workflows", name="w", slug=f"w-{number}")
    now, workflows = metrics.workflows()
    for read in (metrics.live, metrics.workers, metrics.finished):
        read()
    metrics.given_back(now - timedelta(seconds=60), now)
    assert len(workflows) == 50
    assert database.statements == 7
