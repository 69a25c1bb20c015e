"""From database rows to what decisions see: the one place that knows both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from fleet_control.act.jobs import Row
from fleet_control.act.workers import drain_metadata
from fleet_control.decide.model import Drain, Lease, Worker


def lease(row: Row, slugs: Mapping[int, str]) -> Lease:
    """`slugs` by workflow id; a workflow that is deleted has no slug and belongs to no fleet."""
    return Lease(
        dispatch_id=row["id"],
        workflow=slugs.get(row["workflow_id"], ""),
        worker_id=row["worker_id"] or "",
        token=row["lease_token"] or "",
        expires_at=row["lease_expires_at"],
        attempts=row["attempts"],
        updated_at=row["updated_at"],
    )


def worker(row: Row, leases: Iterable[Lease] = ()) -> Worker:
    registered = row["created_at"]
    return Worker(
        row_id=row["id"],
        instance_id=row["worker_id"],
        registered_at=registered,
        # Every instant may be NULL in the schema; a worker that was never seen serves nobody.
        active_at=row["active_at"] or registered or row["last_seen_at"] or datetime.min,  # noqa: DTZ901 - naive UTC
        seen_at=row["last_seen_at"],
        approved=bool(row["is_approved"]),
        draining=bool(row["is_draining"]),
        drain=_drain(row),
        leases=tuple(leases),
        load=row["current_load"] or 0,
    )


def _drain(row: Row) -> Drain | None:
    """Only a drain that stands and is ours; everything else that drains is an admin's."""
    if not row["is_draining"] or row["drain_event"] != "fleet_drained":
        return None
    metadata = drain_metadata(row["drain_metadata"])
    return Drain(
        row_id=row["drain_id"],
        reason=str(metadata.get("reason", "")),
        at=row["drain_at"],
        committed=metadata.get("committed") is True,
        finish_by=_instant(metadata.get("finish_by")),
        finishing=frozenset(found for found in _list(metadata.get("finishing")) if isinstance(found, int)),
    )


def last_jobs(finish_by: datetime, finishing: Iterable[int]) -> dict[str, object]:
    """What the audit row of an interruption says of the jobs that may still finish; `_drain` reads it."""
    return {"finish_by": finish_by.isoformat(timespec="seconds"), "finishing": sorted(finishing)}


def _instant(raw: object) -> datetime | None:
    """Naive UTC. The log is append-only and not ours alone: what cannot be read spares nobody."""
    try:
        return datetime.fromisoformat(raw).replace(tzinfo=None) if isinstance(raw, str) else None
    except ValueError:
        return None


def _list(raw: object) -> list[object]:
    return raw if isinstance(raw, list) else []
