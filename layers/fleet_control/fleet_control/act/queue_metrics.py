"""The queue as numbers: five statements, however many workflows, none of them a scan of history.

Rows are keyed by workflow id. Live rows come through the index on status, finished ones through the audit log's
index on created_at and the dispatches' primary key. Only `self_hosted` jobs are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from fleet_control.act.database import Database, Row

# The outer row keeps the clock readable when there is no workflow yet.
WORKFLOWS = """
SELECT UTC_TIMESTAMP() AS now, w.id, w.slug, w.is_active AS active, w.deleted_at IS NOT NULL AS deleted
FROM (SELECT 1 AS one) AS clock LEFT JOIN workflows w ON TRUE
"""

# One status a SELECT, along the backend's polling index, for every workflow that ever had a job: one whose row is gone
# must be seen as well. The server finds those workflows by skipping through an index. For both statuses together, or
# once a tenth of all rows waits, it would rather read the whole history.
LIVE = """
WITH known AS (SELECT workflow_id FROM ai_job_dispatches GROUP BY workflow_id)
SELECT workflow_id,
       SUM(status = 'queued' AND attempts < 3) AS waiting,
       SUM(attempts < 3) AS depth,
       SUM(status = 'leased' AND lease_expires_at <= UTC_TIMESTAMP()) AS expired,
       SUM(status = 'leased' AND lease_expires_at <= UTC_TIMESTAMP() AND attempts >= 3) AS stuck,
       TIMESTAMPDIFF(SECOND, MIN(IF(status = 'queued' AND attempts < 3, created_at, NULL)), UTC_TIMESTAMP())
           AS oldest_age
FROM (
    SELECT d.workflow_id, d.status, d.attempts, d.lease_expires_at, d.created_at
    FROM known STRAIGHT_JOIN ai_job_dispatches d FORCE INDEX (idx_dispatch_poll) ON d.workflow_id = known.workflow_id
    WHERE d.status = 'queued' AND d.provider = 'self_hosted'
    UNION ALL
    SELECT d.workflow_id, d.status, d.attempts, d.lease_expires_at, d.created_at
    FROM known STRAIGHT_JOIN ai_job_dispatches d FORCE INDEX (idx_dispatch_poll) ON d.workflow_id = known.workflow_id
    WHERE d.status = 'leased' AND d.provider = 'self_hosted'
) live
GROUP BY workflow_id
"""

# "Really held": an unexpired lease of any job takes a slot; what the worker says of its load does not count.
# Held leases go by the worker row's id: a derived table cannot be indexed on worker_id, which is too long for a key.
WORKERS = """
SELECT ww.workflow_id,
       COUNT(*) AS workers,
       SUM(IF(w.is_draining, 0, GREATEST(0, CAST(w.max_concurrency AS SIGNED) - COALESCE(held.leases, 0)))) AS capacity
FROM comfy_ui_workers w
JOIN worker_workflows ww ON ww.worker_id = w.id
LEFT JOIN (
    SELECT holder.id, COUNT(*) AS leases
    FROM ai_job_dispatches d JOIN comfy_ui_workers holder ON holder.worker_id = d.worker_id
    WHERE d.status = 'leased' AND d.lease_expires_at > UTC_TIMESTAMP() GROUP BY holder.id
) held ON held.id = w.id
WHERE w.is_approved = 1 AND w.last_seen_at >= UTC_TIMESTAMP() - INTERVAL 5 MINUTE
GROUP BY ww.workflow_id
"""

# When a job ended is in the audit log alone. Grouped by job: the backend may write a completion twice.
FINISHED = """
WITH finished AS (
    SELECT d.workflow_id, d.status, d.duration_seconds,
           MAX(a.created_at) >= UTC_TIMESTAMP() - INTERVAL 5 MINUTE AS lately
    FROM worker_audit_logs a JOIN ai_job_dispatches d ON d.id = a.dispatch_id
    WHERE a.created_at >= UTC_TIMESTAMP() - INTERVAL 10 MINUTE AND a.event IN ('complete', 'fail')
      AND d.status = IF(a.event = 'complete', 'completed', 'failed') AND d.provider = 'self_hosted'
    GROUP BY d.id, d.workflow_id, d.status, d.duration_seconds
)
SELECT DISTINCT workflow_id,
       MEDIAN(IF(status = 'completed', duration_seconds, NULL)) OVER (PARTITION BY workflow_id) AS p50,
       SUM(status = 'completed' AND lately) OVER (PARTITION BY workflow_id) AS completed,
       SUM(status = 'failed' AND lately) OVER (PARTITION BY workflow_id) AS failed
FROM finished
"""

# A job goes round when it is given back for the third time by or for a worker that Spot did not take: wherever it runs,
# something breaks. The past of such a job alone is read, through the index on dispatch_id.
GIVEN_BACK = """
WITH lately AS (
    SELECT dispatch_id, COUNT(*) AS times,
           SUM(COALESCE(JSON_VALUE(metadata, '$.reason'), '') IN ('spot_interruption', 'capacity_rebalance'))
               AS by_spot
    FROM worker_audit_logs
    WHERE created_at >= %s AND created_at < %s AND event = 'requeued' AND dispatch_id IS NOT NULL
    GROUP BY dispatch_id
)
SELECT d.workflow_id, SUM(lately.by_spot) AS interruptions,
       SUM(lately.times > lately.by_spot AND (
           SELECT COUNT(*) FROM worker_audit_logs a
           WHERE a.dispatch_id = lately.dispatch_id AND a.event = 'requeued'
             AND COALESCE(JSON_VALUE(a.metadata, '$.reason'), '') NOT IN ('spot_interruption', 'capacity_rebalance')
       ) >= 3) AS going_round
FROM lately JOIN ai_job_dispatches d ON d.id = lately.dispatch_id
GROUP BY d.workflow_id
"""

ById = Mapping[int, Row]


class QueueMetrics:
    """Each method is one statement. Raises what Database raises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def workflows(self) -> tuple[datetime, ById]:
        """The database's clock (naive UTC, whole seconds), and every workflow: slug, active, deleted."""
        rows = self._database.query(WORKFLOWS)
        return rows[0]["now"], {row["id"]: _without(row, "id", "now") for row in rows if row["id"] is not None}

    def live(self) -> ById:
        """waiting, depth, expired, stuck, oldest_age (seconds or None) of workflows with live jobs."""
        return self._by_workflow(LIVE)

    def workers(self) -> ById:
        """workers, capacity of workflows with active workers."""
        return self._by_workflow(WORKERS)

    def finished(self) -> ById:
        """p50 (seconds or None; ten minutes), completed, failed (five minutes)."""
        return self._by_workflow(FINISHED)

    def given_back(self, start: datetime, end: datetime) -> ById:
        """Of [start, end), naive UTC. interruptions: requeues whose reason means Spot; going_round: jobs given back for
        another reason, three times or more so far."""
        return self._by_workflow(GIVEN_BACK, (start, end))

    def _by_workflow(self, sql: str, params: tuple[datetime, datetime] | None = None) -> ById:
        return {row["workflow_id"]: _without(row, "workflow_id") for row in self._database.query(sql, params)}


def _without(row: Row, *keys: str) -> Row:
    """The driver gives sums as Decimal; they are whole numbers or medians here."""
    return {key: _plain(value) for key, value in row.items() if key not in keys}


def _plain(value: object) -> object:
    if value is None or isinstance(value, str | datetime | int):
        return value
    number = float(str(value))
    return int(number) if number.is_integer() else number
