"""One fake per port, over one small stage in memory. They promise what tests/contract holds the real ones to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from botocore.exceptions import ClientError
from fleet_control.act.workers import STRONGER_THAN_TERMINATING, TERMINATING

from .fakes_of_aws import FakeEc2, FakeGroups, FakeImages, FakeMachine
from .stage import NOW, STAGE, Row, Stage, ago, group_name

__all__ = ["NOW", "STAGE", "Row", "Stage", "ago", "group_name", "ports_of", "refused"]


class FakeDatabase:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    @contextmanager
    def stage_lock(self, name: str) -> Iterator[bool]:
        self._stage.call("stage_lock", name)
        yield self._stage.lock_is_free


class FakeJobs:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def now(self) -> datetime:
        self._stage.call("now")
        return self._stage.now

    def workflows(self) -> list[Row]:
        self._stage.call("workflows")
        return [{"id": key, "slug": slug} for key, slug in self._stage.slugs.items()]

    def live(self) -> list[Row]:
        self._stage.call("live")
        rows = self._stage.dispatches.values()
        leases = [row | {"kind": "lease", "jobs": 1, "oldest_at": None} for row in rows if row["status"] == "leased"]
        waits: dict[int, list[Row]] = {}
        for row in rows:
            if row["status"] == "queued" and row["attempts"] < 3:
                waits.setdefault(row["workflow_id"], []).append(row)
        return leases + [
            {"kind": "queue", "workflow_id": w, "jobs": len(q), "oldest_at": min(r["created_at"] for r in q)}
            for w, q in waits.items()
        ]

    def newest(self) -> list[Row]:
        self._stage.call("newest")
        return list({row["workflow_id"]: row for row in self._stage.dispatches.values()}.values())

    def waiting(self, slugs: tuple[str, ...]) -> int:
        self._stage.call("waiting")
        return sum(self._stage.slugs[r["workflow_id"]] in slugs for r in self._can_wait())

    def _can_wait(self) -> list[Row]:
        rows = [row for row in self._stage.dispatches.values() if row["attempts"] < 3]
        return [r for r in rows if r["status"] == "queued" or (r["status"] == "leased" and not self._live(r))]

    def _live(self, row: Row) -> bool:
        return bool(row["lease_expires_at"] > self._stage.now)

    def demand(self, slugs: tuple[str, ...]) -> int:
        self._stage.call("demand")
        live = [row for row in self._stage.dispatches.values() if row["status"] == "leased" and self._live(row)]
        return sum(self._stage.slugs[row["workflow_id"]] in slugs for row in live + self._can_wait())

    def leased_at(self, dispatch_ids: Iterable[int]) -> dict[int, datetime]:
        self._stage.call("leased_at", *dispatch_ids)
        return {key: at for key, at in self._stage.leased_at.items() if key in dispatch_ids}

    def durations(self, workflow_ids: Iterable[int]) -> dict[int, list[float]]:
        self._stage.call("durations", *workflow_ids)
        known = self._stage.durations
        return {key: known[self._stage.slugs[key]] for key in workflow_ids if self._stage.slugs[key] in known}

    def requeue(self, dispatch_id: int, token: str, reason: str, worker_row_id: int | None, worker_id: str) -> bool:
        self._stage.call("requeue", dispatch_id, reason)
        row = self._stage.dispatches[dispatch_id]
        if row["status"] != "leased" or row["lease_token"] != token:
            return False
        row |= {"status": "queued", "attempts": max(0, row["attempts"] - 1), "worker_id": None, "lease_token": None}
        return True


class FakeWorkers:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def fleet(self) -> list[Row]:
        self._stage.call("fleet")
        return [self._seen(row) for row in self._stage.workers.values()]

    def one(self, instance_id: str) -> Row | None:
        self._stage.call("one", instance_id)
        row = self._stage.workers.get(instance_id)
        return self._seen(row) if row else None

    def leases(self, instance_id: str) -> list[Row]:
        self._stage.call("leases", instance_id)
        rows = self._stage.dispatches.values()
        return [row for row in rows if row["status"] == "leased" and row["worker_id"] == instance_id]

    def _newest(self, row_id: int) -> Row | None:
        drains = [row for row in self._stage.audit if row["worker_id"] == row_id and row["event"].startswith("fleet_")]
        return drains[-1] if drains else None

    def _seen(self, row: Row) -> Row:
        newest = self._newest(row["id"]) if row["is_draining"] else None
        if newest is None:
            return row | {"drain_id": None, "drain_event": None, "drain_metadata": None, "drain_at": None}
        metadata = json.dumps(newest["metadata"])
        ours = {"drain_id": newest["id"], "drain_event": newest["event"], "drain_at": newest["created_at"]}
        return row | ours | {"drain_metadata": metadata}

    def heard_beside(self, instance_id: str) -> datetime | None:
        self._stage.call("heard_beside", instance_id)
        seen = [row["last_seen_at"] for name, row in self._stage.workers.items() if name != instance_id]
        return max((at for at in seen if at is not None), default=None)

    def registrations(self) -> list[Row]:
        self._stage.call("registrations")
        newest = sorted(self._stage.registrations.items(), key=lambda one: one[1], reverse=True)
        return [{"worker_identifier": name, "created_at": at} for name, at in newest]

    def drain(self, row_id: int, instance_id: str, reason: str) -> int | None:
        self._stage.call("drain", instance_id, reason)
        row = self._stage.workers[instance_id]
        if row["is_draining"]:
            return None
        row["is_draining"] = 1
        return self._stage.write(row, "fleet_drained", {"reason": reason})

    def mark_interrupted(
        self, row_id: int, instance_id: str, reason: str, details: Mapping[str, Any] | None = None
    ) -> bool:
        self._stage.call("mark_interrupted", instance_id, reason)
        return self._mark(row_id, instance_id, {"reason": reason, **(details or {})}, ())

    def mark_terminating(self, row_id: int, instance_id: str) -> bool:
        self._stage.call("mark_terminating", instance_id)
        return self._mark(row_id, instance_id, {"reason": TERMINATING}, STRONGER_THAN_TERMINATING)

    def _mark(self, row_id: int, instance_id: str, metadata: Row, stronger: tuple[str, ...]) -> bool:
        row, newest = self._stage.workers[instance_id], self._newest(row_id)
        if row["is_draining"] and newest and newest["event"] == "fleet_drained":
            said = newest["metadata"]
            if said["reason"] in (metadata["reason"], *stronger) or (stronger and said.get("committed")):
                return False
        row["is_draining"] = 1
        self._stage.write(row, "fleet_drained", metadata)
        return True

    def _stands(self, row: Row, drain_id: int) -> bool:
        newest = self._newest(row["id"])
        ours = newest is not None and newest["id"] == drain_id and newest["event"] == "fleet_drained"
        return bool(row["is_draining"] and ours and newest and not newest["metadata"].get("committed"))

    def undrain(self, row_id: int, instance_id: str, drain_id: int, reason: str) -> bool:
        self._stage.call("undrain", instance_id, reason)
        row = self._stage.workers[instance_id]
        if not self._stands(row, drain_id):
            return False
        row["is_draining"] = 0
        self._stage.write(row, "fleet_undrained", {"reason": reason})
        return True

    def commit_drain(self, row_id: int, instance_id: str, drain_id: int, reason: str) -> bool:
        self._stage.call("commit_drain", instance_id)
        row = self._stage.workers[instance_id]
        held = [r for r in self._stage.dispatches.values() if r["worker_id"] == instance_id and r["status"] == "leased"]
        if not self._stands(row, drain_id) or any(r["lease_expires_at"] > self._stage.now for r in held):
            return False
        self._stage.write(row, "fleet_drained", {"reason": reason, "committed": True})
        return True

    def remove(self, row_id: int, instance_id: str) -> bool:
        self._stage.call("remove", instance_id)
        return self._stage.workers.pop(instance_id, None) is not None


def refused(action: str) -> ClientError:
    """AWS refuses a call."""
    return ClientError({"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}, action)


PortsT = TypeVar("PortsT")


def ports_of(stage: Stage, kind: type[PortsT], **own: Any) -> PortsT:
    """A flow's Ports with the fake of each name it has."""
    fakes: dict[str, Any] = {
        "stage": STAGE,
        "database": FakeDatabase(stage),
        "jobs": FakeJobs(stage),
        "workers": FakeWorkers(stage),
        "groups": FakeGroups(stage),
        "ec2": FakeEc2(stage),
        "images": FakeImages(stage),
        "scale_in": FakeMachine(stage),
        "machine": FakeMachine(stage),
        "recorder": stage.recorder,
    } | own
    return kind(**{name: fakes[name] for name in kind.__dataclass_fields__})  # type: ignore[attr-defined]
