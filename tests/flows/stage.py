"""One small stage in memory: what is true, and which calls were made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from fleet_control.act.activities import Activity
from fleet_control.act.asg import Group, GroupInstance
from fleet_control.act.ec2 import Ec2Instance
from fleet_control.act.images import ParameterImage

from .recorder import FakeRecorder

NOW = datetime(2026, 1, 5, 12, 0, 0)  # noqa: DTZ001 - naive UTC, as the database answers
STAGE = "staging"
Row = dict[str, Any]


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def group_name(slug: str) -> str:
    return f"asg-{STAGE}-{slug}"


@dataclass
class Stage:
    """What is true. `calls` are those made through the ports; a method in `broken` raises what stands there."""

    now: datetime = NOW
    slugs: dict[int, str] = field(default_factory=dict)
    dispatches: dict[int, Row] = field(default_factory=dict)
    workers: dict[str, Row] = field(default_factory=dict)
    audit: list[Row] = field(default_factory=list)
    groups: dict[str, Group] = field(default_factory=dict)
    activities: dict[str, list[Activity]] = field(default_factory=dict)
    registrations: dict[str, datetime] = field(default_factory=dict)
    instances: dict[str, Ec2Instance] = field(default_factory=dict)
    executions: dict[str, Mapping[str, object]] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    parameters: dict[str, ParameterImage] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    """Of instances that did not run "ami-1"."""
    recommended: set[str] = field(default_factory=set)
    leased_at: dict[int, datetime] = field(default_factory=dict)
    durations: dict[str, list[float]] = field(default_factory=dict)
    lock_is_free: bool = True
    broken: dict[str, Exception] = field(default_factory=dict)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    recorder: FakeRecorder = field(default_factory=FakeRecorder)

    def call(self, *what: Any) -> None:
        self.calls.append(what)
        for broken in (what[0], " ".join(map(str, what[:2]))):
            if broken in self.broken:
                raise self.broken[broken]

    def made(self, name: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == name]

    # Building it.

    def fleet(self, slug: str = "image-to-video", *, desired: int = 0, **tags: str) -> str:
        self.slugs[len(self.slugs) + 1] = slug
        policy = {f"fleet:{key.replace('_', '-')}": value for key, value in tags.items()}
        everything = {"Stage": STAGE, "WorkflowSlug": slug, "fleet:workflows": slug} | policy
        name = group_name(slug)
        self.groups[name] = Group(name, desired, 0, 10, (), everything, frozenset({"AZRebalance"}))
        return name

    def instance(self, name: str, slug: str = "image-to-video", *, state: str = "running", **worker: Any) -> str:
        """A member with a live, idle worker; keywords change the worker's row."""
        group = self.groups[group_name(slug)]
        self.groups[group.name] = replace(group, instances=(*group.instances, GroupInstance(name, "InService")))
        self.instances[name] = Ec2Instance(name, state, ago(3600))
        row = {"id": len(self.workers) + 1, "worker_id": name, "is_approved": 1, "is_draining": 0, "current_load": 0}
        row |= {"last_seen_at": ago(2), "created_at": ago(3000), "active_at": ago(30)}
        self.workers[name] = row | worker
        return name

    def job(self, slug: str = "image-to-video", **changes: Any) -> int:
        dispatch = len(self.dispatches) + 1
        workflow = next(key for key, value in self.slugs.items() if value == slug)
        row = {"id": dispatch, "workflow_id": workflow, "status": "queued", "attempts": 0, "created_at": ago(60)}
        row |= {"worker_id": None, "lease_token": None, "lease_expires_at": None, "updated_at": ago(60)}
        self.dispatches[dispatch] = row | changes
        return dispatch

    def lease(self, holder: str, slug: str = "image-to-video", *, seconds_left: float = 600, attempts: int = 1) -> int:
        expires = NOW + timedelta(seconds=seconds_left)
        token = f"token-{len(self.dispatches) + 1}"
        taken = {"worker_id": holder, "lease_token": token, "lease_expires_at": expires, "attempts": attempts}
        return self.job(slug, status="leased", **taken)

    def moved(self, name: str, before: str, after: str) -> bool:
        """Put a member from one lifecycle state into another. False when it is not in the first."""
        for group in self.groups.values():
            if any((i.id, i.lifecycle) == (name, before) for i in group.instances):
                members = tuple(GroupInstance(i.id, after) if i.id == name else i for i in group.instances)
                self.groups[group.name] = replace(group, instances=members)
                return True
        return False

    def write(self, worker: Row, event: str, metadata: Row) -> int:
        row = {"id": len(self.audit) + 1, "worker_id": worker["id"], "event": event, "metadata": metadata}
        self.audit.append(row | {"created_at": self.now})
        worker["active_at"] = self.now
        return len(self.audit)
