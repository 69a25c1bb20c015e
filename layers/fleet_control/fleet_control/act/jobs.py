"""`ai_job_dispatches`: the queue as the backend leases it, and the one change we make to it.

The statements read what is live; none grows with the history of completed jobs.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fleet_control.act.database import Database

Row = dict[str, Any]

WORKFLOWS = "SELECT id, slug FROM workflows WHERE deleted_at IS NULL"

# One statement, one snapshot: a job leased between two reads would be counted twice, and a GPU launched for it.
# The queue goes workflow by workflow along the backend's own polling index. Left alone the server reads the whole
# table, or one workflow's whole history, once a tenth of the rows waits. Jobs without a workflow are nobody's here.
LIVE = """
SELECT 'lease' AS kind, id, workflow_id, worker_id, lease_token, lease_expires_at, attempts, updated_at, 1 AS jobs,
       NULL AS oldest_at
FROM ai_job_dispatches
WHERE status = 'leased' AND provider = 'self_hosted'
UNION ALL
SELECT 'queue', NULL, w.id, NULL, NULL, NULL, NULL, NULL, COUNT(*), MIN(d.created_at)
FROM workflows w STRAIGHT_JOIN ai_job_dispatches d FORCE INDEX (idx_dispatch_poll) ON d.workflow_id = w.id
WHERE d.status = 'queued' AND d.attempts < 3 AND d.provider = 'self_hosted'
GROUP BY w.id
"""

# The newest row of each workflow is the first that the index on workflow_id yields backwards. One that runs elsewhere
# is no work of a fleet, and to look past it could mean to read the whole history.
NEWEST = """
SELECT d.workflow_id, d.updated_at, d.created_at
FROM (SELECT workflow_id, MAX(id) AS id FROM ai_job_dispatches GROUP BY workflow_id) newest
JOIN ai_job_dispatches d ON d.id = newest.id
WHERE d.provider = 'self_hosted'
"""

REQUEUE = """
UPDATE ai_job_dispatches
SET status = 'queued', worker_id = NULL, lease_token = NULL, lease_expires_at = NULL, last_error = %s,
    attempts = IF(attempts > 0, attempts - 1, 0), updated_at = UTC_TIMESTAMP()
WHERE id = %s AND status = 'leased' AND lease_token = %s
"""

# One status a SELECT, each on its own stretch of the polling index: with OR between them the server goes through the
# workflow's whole history. An expired lease waits while an attempt is left; a live one is demand, whatever is left.
BACKLOG = """
SELECT COALESCE(SUM(waiting), 0) AS waiting, COALESCE(SUM(demand), 0) AS demand
FROM (
    SELECT COUNT(*) AS waiting, COUNT(*) AS demand
    FROM workflows w STRAIGHT_JOIN ai_job_dispatches d FORCE INDEX (idx_dispatch_poll) ON d.workflow_id = w.id
    WHERE w.deleted_at IS NULL AND w.slug IN %(slugs)s AND d.provider = 'self_hosted' AND d.status = 'queued'
      AND d.attempts < 3
    UNION ALL
    SELECT SUM(d.attempts < 3 AND d.lease_expires_at <= UTC_TIMESTAMP()),
           SUM(d.attempts < 3 OR d.lease_expires_at > UTC_TIMESTAMP())
    FROM workflows w STRAIGHT_JOIN ai_job_dispatches d FORCE INDEX (idx_dispatch_poll) ON d.workflow_id = w.id
    WHERE w.deleted_at IS NULL AND w.slug IN %(slugs)s AND d.provider = 'self_hosted' AND d.status = 'leased'
) live
"""

LEASED_AT = """
SELECT dispatch_id, MAX(created_at) AS leased_at
FROM worker_audit_logs
WHERE dispatch_id IN %s AND event = 'poll'
GROUP BY dispatch_id
"""

# The newest completions of the stage, whatever their workflow: bounded before anything is looked up. A duration counts
# from the first lease, so that of a later attempt has the wait between in it; and a requeue takes its attempt back, so
# that only the log tells which job was leased again. A completion may be in the log twice.
DURATIONS = """
SELECT DISTINCT d.id, d.workflow_id, d.duration_seconds
FROM (SELECT dispatch_id FROM worker_audit_logs WHERE event = 'complete' ORDER BY id DESC LIMIT 500) recent
JOIN ai_job_dispatches d ON d.id = recent.dispatch_id
LEFT JOIN worker_audit_logs again ON again.dispatch_id = d.id AND again.event = 'requeued'
WHERE d.workflow_id IN %s AND d.status = 'completed' AND d.attempts = 1 AND d.duration_seconds IS NOT NULL
  AND again.id IS NULL
"""

AUDIT = """
INSERT INTO worker_audit_logs (worker_id, worker_identifier, event, dispatch_id, metadata, created_at)
VALUES (%s, %s, %s, %s, %s, UTC_TIMESTAMP())
"""


class Jobs:
    """Reads answer rows as the statements above name them; instants are naive UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def now(self) -> datetime:
        """The only clock of every decision, to the second like all the timestamps it is compared with."""
        now: datetime = self._database.query("SELECT UTC_TIMESTAMP() AS now")[0]["now"]
        return now

    def workflows(self) -> list[Row]:
        return self._database.query(WORKFLOWS)

    def live(self) -> list[Row]:
        """Every lease (kind `lease`), live or expired; and by workflow (kind `queue`) how many `jobs` wait that may
        be leased, and since when the oldest does."""
        return self._database.query(LIVE)

    def newest(self) -> list[Row]:
        """The newest dispatch of each workflow, if it is the fleet's: its last sign of work, however long ago."""
        return self._database.query(NEWEST)

    def leased_at(self, dispatch_ids: Sequence[int]) -> dict[int, datetime]:
        """When each of these jobs was last leased, as the audit log knows (naive UTC). No statement for no ids."""
        rows = self._database.query(LEASED_AT, (tuple(dispatch_ids),)) if dispatch_ids else []
        return {row["dispatch_id"]: row["leased_at"] for row in rows if row["leased_at"] is not None}

    def durations(self, workflow_ids: Sequence[int]) -> dict[int, list[float]]:
        """Seconds that recent jobs of these workflows took at their first attempt. No statement for no ids."""
        rows = self._database.query(DURATIONS, (tuple(workflow_ids),)) if workflow_ids else []
        found: dict[int, list[float]] = defaultdict(list)
        for row in rows:
            found[row["workflow_id"]].append(float(row["duration_seconds"]))
        return dict(found)

    def waiting(self, slugs: tuple[str, ...]) -> int:
        """Jobs of these workflows that a worker could lease this moment."""
        return int(self._backlog(slugs)["waiting"])

    def demand(self, slugs: tuple[str, ...]) -> int:
        """Jobs of these workflows that wait or are being worked on."""
        return int(self._backlog(slugs)["demand"])

    def _backlog(self, slugs: tuple[str, ...]) -> Row:
        return self._database.query(BACKLOG, {"slugs": slugs})[0]

    def requeue(self, dispatch_id: int, token: str, reason: str, worker_row_id: int | None, worker_id: str) -> bool:
        """Make a job leasable again at no cost to its attempts. False when the lease is no longer this one."""
        with self._database.transaction() as transaction:
            changed = transaction.execute(REQUEUE, (f"Requeued: {reason}", dispatch_id, token))
            if changed:
                metadata = json.dumps({"reason": reason})
                transaction.execute(AUDIT, (worker_row_id, worker_id, "requeued", dispatch_id, metadata))
        return changed == 1
