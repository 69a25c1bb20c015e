"""`comfy_ui_workers` and its audit log: who is there, and the drains that are ours to make and undo."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fleet_control.act.database import Database
from fleet_control.act.jobs import AUDIT, Row

# The newest audit row of a worker is its last activity: polls leave one only when they got a job. The newest drain
# row is looked up for draining workers alone. Both are reads from the end of the index on worker_id.
_WORKERS = """
SELECT w.id, w.worker_id, w.is_approved, w.is_draining, w.last_seen_at, w.created_at, w.current_load,
       (SELECT a.created_at FROM worker_audit_logs a WHERE a.worker_id = w.id ORDER BY a.id DESC LIMIT 1) AS active_at,
       drain.id AS drain_id, drain.event AS drain_event, drain.metadata AS drain_metadata,
       drain.created_at AS drain_at
FROM comfy_ui_workers w
LEFT JOIN worker_audit_logs drain ON drain.id = IF(w.is_draining, (
    SELECT a.id FROM worker_audit_logs a
    WHERE a.worker_id = w.id AND a.event IN ('fleet_drained', 'fleet_undrained') ORDER BY a.id DESC LIMIT 1), NULL)
WHERE w.registration_source = 'fleet' AND w.worker_id {which}
"""

FLEET_WORKERS = _WORKERS.format(which="LIKE %s")
ONE_WORKER = _WORKERS.format(which="= %s")

# The end of the index on last_seen_at: the first that is not the one itself.
HEARD_BESIDE = """
SELECT last_seen_at FROM comfy_ui_workers
WHERE registration_source = 'fleet' AND worker_id <> %s AND last_seen_at IS NOT NULL
ORDER BY last_seen_at DESC LIMIT 1
"""

LEASES_OF = """
SELECT id, workflow_id, worker_id, lease_token, lease_expires_at, attempts, updated_at
FROM ai_job_dispatches
WHERE worker_id = %s AND status = 'leased'
"""

# The end of the index on event: as dear for a log of years as for one of a day.
REGISTRATIONS = """
SELECT worker_identifier, created_at FROM worker_audit_logs WHERE event = 'registered' ORDER BY id DESC LIMIT %s
"""
MOST_REGISTRATIONS = 500
"""A stage has at most fifty workers, and they register at most ten a minute."""

TERMINATING = "terminating"
STRONGER_THAN_TERMINATING = ("spot_interruption", "instance_terminated")
"""An interruption knows until when jobs may run; of an instance that is gone there is nothing left to wait for."""

HOLDS_LEASE = """
SELECT id FROM ai_job_dispatches
WHERE worker_id = %s AND status = 'leased' AND lease_expires_at > UTC_TIMESTAMP() LIMIT 1
"""

LOCK = "SELECT id, is_draining FROM comfy_ui_workers WHERE id = %s FOR UPDATE"
DRAIN = """
UPDATE comfy_ui_workers SET is_draining = 1, updated_at = UTC_TIMESTAMP() WHERE id = %s AND is_draining = 0
"""
UNDRAIN = """
UPDATE comfy_ui_workers SET is_draining = 0, updated_at = UTC_TIMESTAMP() WHERE id = %s AND is_draining = 1
"""
NEWEST_DRAIN = """
SELECT id, event, metadata FROM worker_audit_logs
WHERE worker_id = %s AND event IN ('fleet_drained', 'fleet_undrained') ORDER BY id DESC LIMIT 1
"""
FORGET_WORKFLOWS = "DELETE FROM worker_workflows WHERE worker_id = %s"
FORGET = "DELETE FROM comfy_ui_workers WHERE id = %s"
LOCK_OURS = """
SELECT id FROM comfy_ui_workers WHERE id = %s AND worker_id = %s AND registration_source = 'fleet' FOR UPDATE
"""


class Workers:
    """Workers are named by their row's id and their EC2 instance id (`worker_id`) together."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def fleet(self) -> list[Row]:
        """Every worker that registered from an EC2 instance with the fleet's secret."""
        return self._database.query(FLEET_WORKERS, ("i-%",))

    def one(self, instance_id: str) -> Row | None:
        return next(iter(self._database.query(ONE_WORKER, (instance_id,))), None)

    def leases(self, instance_id: str) -> list[Row]:
        """What this worker holds, live or expired."""
        return self._database.query(LEASES_OF, (instance_id,))

    def heard_beside(self, instance_id: str) -> datetime | None:
        """When the backend last heard of any fleet worker but this one; None when there is no other."""
        rows = self._database.query(HEARD_BESIDE, (instance_id,))
        return rows[0]["last_seen_at"] if rows else None

    def registrations(self) -> list[Row]:
        """The newest registrations, newest first, at most MOST_REGISTRATIONS of them."""
        return self._database.query(REGISTRATIONS, (MOST_REGISTRATIONS,))

    def drain(self, row_id: int, instance_id: str, reason: str) -> int | None:
        """Stop the worker's polls. The drain's audit id; None when it is draining already, by us or by an admin."""
        with self._database.transaction() as transaction:
            if not transaction.execute(DRAIN, (row_id,)):
                return None
            return transaction.insert(AUDIT, _audit(row_id, instance_id, "fleet_drained", {"reason": reason}))

    def mark_interrupted(
        self, row_id: int, instance_id: str, reason: str, details: Mapping[str, Any] | None = None
    ) -> bool:
        """Drain for good, whoever drained it before; `details` join the reason in the audit row. False when it is
        marked already or the row is gone."""
        return self._mark(row_id, instance_id, reason, details or {}, stronger=())

    def mark_terminating(self, row_id: int, instance_id: str) -> bool:
        """Drain for good because its group waits for it to go; no drain that says more is replaced."""
        return self._mark(row_id, instance_id, TERMINATING, {}, stronger=STRONGER_THAN_TERMINATING)

    def _mark(
        self, row_id: int, instance_id: str, reason: str, details: Mapping[str, Any], stronger: tuple[str, ...]
    ) -> bool:
        with self._database.transaction() as transaction:
            if not transaction.query(LOCK, (row_id,)):
                return False
            newest = transaction.query(NEWEST_DRAIN, (row_id,))
            drained_now = transaction.execute(DRAIN, (row_id,))
            if not drained_now and newest and _says_it(newest[0], reason, stronger):
                return False
            metadata = {"reason": reason, **details}
            transaction.insert(AUDIT, _audit(row_id, instance_id, "fleet_drained", metadata))
        return True

    def undrain(self, row_id: int, instance_id: str, drain_id: int, reason: str) -> bool:
        """Let the worker serve again. False when this drain is no longer the newest, or was made final."""
        with self._database.transaction() as transaction:
            if not self._stands(transaction, row_id, drain_id):
                return False
            transaction.execute(UNDRAIN, (row_id,))
            transaction.insert(AUDIT, _audit(row_id, instance_id, "fleet_undrained", {"reason": reason}))
        return True

    def commit_drain(self, row_id: int, instance_id: str, drain_id: int, reason: str) -> bool:
        """The point of no return before a termination: refused when the drain was undone or a lease is held.

        The worker's row is locked meanwhile, so that an undrain comes wholly before or is refused after.
        """
        with self._database.transaction() as transaction:
            if not self._stands(transaction, row_id, drain_id):
                return False
            if transaction.query(HOLDS_LEASE, (instance_id,)):
                return False
            metadata = {"reason": reason, "committed": True}
            transaction.insert(AUDIT, _audit(row_id, instance_id, "fleet_drained", metadata))
        return True

    def remove(self, row_id: int, instance_id: str) -> bool:
        """Forget a worker whose instance no longer exists; its audit rows stay."""
        with self._database.transaction() as transaction:
            if not transaction.query(LOCK_OURS, (row_id, instance_id)):
                return False
            transaction.execute(FORGET_WORKFLOWS, (row_id,))
            transaction.execute(FORGET, (row_id,))
            metadata = {"reason": "instance no longer exists"}
            transaction.insert(AUDIT, _audit(row_id, instance_id, "stale_cleanup", metadata))
        return True

    @staticmethod
    def _stands(transaction: Any, row_id: int, drain_id: int) -> bool:
        """Locks the worker's row: is it draining, by this drain of ours, and is that one not final yet?"""
        locked = transaction.query(LOCK, (row_id,))
        newest = transaction.query(NEWEST_DRAIN, (row_id,))
        if not locked or not locked[0]["is_draining"] or not newest or newest[0]["id"] != drain_id:
            return False
        return newest[0]["event"] == "fleet_drained" and not drain_metadata(newest[0]["metadata"]).get("committed")


def _says_it(newest: Row, reason: str, stronger: tuple[str, ...]) -> bool:
    metadata = drain_metadata(newest["metadata"])
    if newest["event"] != "fleet_drained":
        return False
    return metadata.get("reason") in (reason, *stronger) or (bool(stronger) and metadata.get("committed") is True)


def drain_metadata(raw: str | None) -> dict[str, Any]:
    """The audit row's JSON; empty for anything that is not an object."""
    try:
        found = json.loads(raw or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _audit(row_id: int, instance_id: str, event: str, metadata: dict[str, Any]) -> tuple[Any, ...]:
    return row_id, instance_id, event, None, json.dumps(metadata)
