"""The Laravel backend as the control plane meets it: the same statements, locks, order and quirks, over the database.

Sessions run as Laravel's do: REPEATABLE READ, PHP's clock at second precision, transactions that are not retried.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import secrets
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.sessions import Row, Session

if TYPE_CHECKING:
    from lab.mariadb import Connection

LEASE = dt.timedelta(seconds=900)
FLEET_LIMIT = 50
ATTEMPT_LIMIT = 3


class RefusedError(Exception):
    """An HTTP answer other than 2xx; `status` is its code."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}")
        self.status = status


@dataclass(frozen=True)
class Job:
    """What a poll hands to a worker; the lease token fences every later call about it."""

    dispatch_id: int
    lease_token: str
    workflow_id: int
    tenant_id: str
    tenant_job_id: int
    attempts: int


def php_now() -> dt.datetime:
    """Carbon::now() as the database stores it: UTC, whole seconds, cut off rather than rounded."""
    return dt.datetime.now(dt.UTC).replace(microsecond=0, tzinfo=None)


class Backend:
    """One caller's view of the backend, not shared between threads; `connect` opens a session on the database `bp`.

    `token_mark` begins every token it gives to a worker.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        *,
        registrations_per_minute: int | None = 10,
        ip: str = "10.0.4.1",
        token_mark: str = "",
        lease: dt.timedelta = LEASE,
    ) -> None:
        self._db = Session(connect)
        self._registrations_per_minute = registrations_per_minute
        self._ip = ip
        self._token_mark = token_mark
        self._lease = lease

    # -- the worker API ------------------------------------------------------------------------------------------

    def register(self, worker_id: str, slugs: Sequence[str], *, max_concurrency: int = 1) -> str:
        """The worker's token, shown once. Refuses with 403 (limit), 409 (known), 422 (no such workflow) and 429."""
        with self._db.request():
            self._throttle()
            workflows = self._db.rows("SELECT id FROM workflows WHERE slug IN %s AND deleted_at IS NULL", tuple(slugs))
            if not workflows or len(workflows) != len(set(slugs)):
                raise RefusedError(422, f"unknown workflow in {', '.join(slugs)}")
            fleet = self._db.rows("SELECT COUNT(*) AS n FROM comfy_ui_workers WHERE registration_source = 'fleet'")
            if fleet[0]["n"] >= FLEET_LIMIT:
                raise RefusedError(403, "fleet worker limit reached")
            if self._db.rows("SELECT id FROM comfy_ui_workers WHERE worker_id = %s", worker_id):
                raise RefusedError(409, f"{worker_id} is already registered")
            return self._enlist(worker_id, [row["id"] for row in workflows], max_concurrency)

    def poll(self, token: str, *, current_load: int = 0, max_concurrency: int = 1) -> Job | None:
        """A leased job, or None when there is none or the worker may not have one."""
        worker = self.check_in(token, current_load=current_load, max_concurrency=max_concurrency)
        if worker["is_draining"] or current_load >= max_concurrency:
            return None
        return self.lease(worker)

    def heartbeat(self, token: str, dispatch_id: int, lease_token: str) -> None:
        """Adds a whole lease to the *present* expiry, so the lease runs ever further ahead of the clock."""
        with self._db.request():
            worker = self._authenticate(token)
            self._seen(worker["id"])
            dispatch = self._leased(dispatch_id, lease_token)
            expiry = (dispatch["lease_expires_at"] or php_now()) + self._lease
            self._db.write("UPDATE ai_job_dispatches SET lease_expires_at = %s, updated_at = %s WHERE id = %s",
                           expiry, php_now(), dispatch_id)  # fmt: skip

    def complete(self, token: str, dispatch_id: int, lease_token: str) -> None:
        """Read, then write: what changed in between is overwritten. The lease token stays on the row."""
        with self._db.request():
            worker = self._authenticate(token)
            self._leased(dispatch_id, lease_token)
            self._db.write(
                "UPDATE ai_job_dispatches SET status = 'completed', duration_seconds = %s, updated_at = %s "
                "WHERE id = %s",
                self._seconds_since_first_lease(dispatch_id), php_now(), dispatch_id,
            )  # fmt: skip
            self._audit(worker, "complete", dispatch_id)

    def fail(self, token: str, dispatch_id: int, lease_token: str, error: str) -> None:
        with self._db.request():
            worker = self._authenticate(token)
            self._leased(dispatch_id, lease_token)
            self._db.write("UPDATE ai_job_dispatches SET status = 'failed', last_error = %s, updated_at = %s "
                           "WHERE id = %s", error, php_now(), dispatch_id)  # fmt: skip
            self._audit(worker, "fail", dispatch_id, {"error": error})

    def requeue(self, token: str, dispatch_id: int, lease_token: str, reason: str) -> None:
        """Back to the queue at no cost: an infrastructure interruption is not an attempt."""
        with self._db.request():
            worker = self._authenticate(token)
            dispatch = self._leased(dispatch_id, lease_token)
            self._db.write(
                "UPDATE ai_job_dispatches SET status = 'queued', worker_id = NULL, lease_token = NULL, "
                "lease_expires_at = NULL, last_error = %s, attempts = %s, updated_at = %s WHERE id = %s",
                f"Requeued: {reason}", max(0, dispatch["attempts"] - 1), php_now(), dispatch_id,
            )  # fmt: skip
            self._audit(worker, "requeued", dispatch_id, {"reason": reason})

    def deregister(self, token: str) -> None:
        with self._db.request():
            worker = self._authenticate(token)
            with self._db.transaction():
                self._db.write("DELETE FROM worker_workflows WHERE worker_id = %s", worker["id"])
                self._db.write("DELETE FROM comfy_ui_workers WHERE id = %s", worker["id"])
            self._audit(worker, "deregistered")

    # -- the two halves of a poll, apart so that a test can act between them -----------------------------------------

    def check_in(self, token: str, *, current_load: int = 0, max_concurrency: int = 1) -> Row:
        """The worker row as it was *read before* last_seen_at was written; later changes to it are not in it."""
        with self._db.request():
            worker = self._authenticate(token)
            now = php_now()
            self._db.write(
                "UPDATE comfy_ui_workers SET last_seen_at = %s, current_load = %s, max_concurrency = %s, last_ip = %s, "
                "updated_at = %s WHERE id = %s",
                now, current_load, max_concurrency, self._ip, now, worker["id"],
            )  # fmt: skip
            return worker

    def lease(self, worker: Row) -> Job | None:
        """The lease transaction. It trusts the row it is given: whoever began to drain since then is not noticed."""
        with self._db.request():
            with self._db.transaction():
                dispatch = self._next(worker)
                if dispatch is None:
                    return None
                job = _job(dispatch)
                now = php_now()
                self._db.write(
                    "UPDATE ai_job_dispatches SET status = 'leased', worker_id = %s, lease_token = %s, "
                    "lease_expires_at = %s, attempts = %s, updated_at = %s WHERE id = %s",
                    worker["worker_id"], job.lease_token, now + self._lease, job.attempts, now, job.dispatch_id,
                )  # fmt: skip
            self._audit(worker, "poll", job.dispatch_id)
            return job

    # -- the application's side ------------------------------------------------------------------------------------

    def submit(
        self, workflow: str, *, tenant: str, tenant_job_id: int, priority: int = 0, provider: str = "self_hosted"
    ) -> int:
        """Queue one job and return its dispatch id; the row is committed on return."""
        with self._db.request():
            now = php_now()
            return self._db.write(
                "INSERT INTO ai_job_dispatches (tenant_id, tenant_job_id, provider, workflow_id, priority, created_at, "
                "updated_at) SELECT %s, %s, %s, id, %s, %s, %s FROM workflows WHERE slug = %s",
                tenant, tenant_job_id, provider, priority, now, now, workflow,
            )  # fmt: skip

    def drain_by_hand(self, worker_id: str, *, draining: bool = True) -> None:
        """What an administrator's button does: the flag alone, with no audit row of ours."""
        with self._db.request():
            self._db.write("UPDATE comfy_ui_workers SET is_draining = %s, updated_at = %s WHERE worker_id = %s",
                           int(draining), php_now(), worker_id)  # fmt: skip

    def close(self) -> None:
        self._db.close()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _authenticate(self, token: str) -> Row:
        workers = self._db.rows("SELECT * FROM comfy_ui_workers WHERE token_hash = %s", _digest(token))
        if not workers:
            raise RefusedError(401, "unknown token")
        if not workers[0]["is_approved"]:
            raise RefusedError(403, "not approved")
        return workers[0]

    def _seen(self, worker: int) -> None:
        now = php_now()
        self._db.write("UPDATE comfy_ui_workers SET last_seen_at = %s, updated_at = %s WHERE id = %s", now, now, worker)

    def _throttle(self) -> None:
        if self._registrations_per_minute is None:
            return
        recent = self._db.rows(
            "SELECT COUNT(*) AS n FROM worker_audit_logs WHERE event = 'registered' AND ip_address = %s "
            "AND created_at > %s",
            self._ip, php_now() - dt.timedelta(minutes=1),
        )  # fmt: skip
        if recent[0]["n"] >= self._registrations_per_minute:
            raise RefusedError(429, "too many registrations from this address")

    def _enlist(self, worker_id: str, workflows: Sequence[int], max_concurrency: int) -> str:
        token, now = (self._token_mark + secrets.token_hex(32))[:64], php_now()
        with self._db.transaction():
            worker = self._db.write(
                "INSERT INTO comfy_ui_workers (worker_id, token_hash, display_name, capabilities, max_concurrency, "
                "last_seen_at, last_ip, registration_source, is_approved, created_at, updated_at) "
                "VALUES (%s, %s, %s, '{}', %s, %s, %s, 'fleet', 1, %s, %s)",
                worker_id, _digest(token), worker_id, max_concurrency, now, self._ip, now, now,
            )  # fmt: skip
            for workflow in workflows:
                self._db.write("INSERT INTO worker_workflows (worker_id, workflow_id, created_at, updated_at) "
                               "VALUES (%s, %s, %s, %s)", worker, workflow, now, now)  # fmt: skip
            self._audit({"id": worker, "worker_id": worker_id}, "registered")
        return token

    def _next(self, worker: Row) -> Row | None:
        workflows = [
            row["workflow_id"]
            for row in self._db.rows("SELECT workflow_id FROM worker_workflows WHERE worker_id = %s", worker["id"])
        ]
        if not workflows:
            return None
        found = self._db.rows(
            "SELECT * FROM ai_job_dispatches WHERE provider IN ('self_hosted') AND attempts < %s AND "
            "(status = 'queued' OR (status = 'leased' AND lease_expires_at <= %s)) AND workflow_id IN %s "
            "ORDER BY priority DESC, created_at ASC LIMIT 1 FOR UPDATE",
            ATTEMPT_LIMIT, php_now(), tuple(workflows),
        )  # fmt: skip
        return found[0] if found else None

    def _leased(self, dispatch_id: int, lease_token: str) -> Row:
        found = self._db.rows("SELECT * FROM ai_job_dispatches WHERE id = %s", dispatch_id)
        if not found or found[0]["lease_token"] != lease_token:
            raise RefusedError(404, f"no dispatch {dispatch_id} with this lease")
        return found[0]

    def _seconds_since_first_lease(self, dispatch_id: int) -> int:
        first = self._db.rows("SELECT MIN(created_at) AS t FROM worker_audit_logs WHERE dispatch_id = %s "
                              "AND event = 'poll'", dispatch_id)[0]["t"]  # fmt: skip
        return int((php_now() - first).total_seconds()) if first else 0

    def _audit(self, worker: Row, event: str, dispatch_id: int | None = None, metadata: Row | None = None) -> None:
        self._db.write(
            "INSERT INTO worker_audit_logs (worker_id, worker_identifier, event, dispatch_id, ip_address, metadata, "
            "created_at) VALUES (%s, %s, %s, %s, %s, %s, %s)",
            worker["id"], worker["worker_id"], event, dispatch_id, self._ip,
            json.dumps(metadata) if metadata is not None else None, php_now(),
        )  # fmt: skip


def _job(dispatch: Row) -> Job:
    return Job(
        dispatch_id=dispatch["id"],
        lease_token=str(uuid.uuid4()),
        workflow_id=dispatch["workflow_id"],
        tenant_id=dispatch["tenant_id"],
        tenant_job_id=dispatch["tenant_job_id"],
        attempts=dispatch["attempts"] + 1,
    )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
