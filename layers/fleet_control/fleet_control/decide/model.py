"""What a decision sees: plain, frozen facts about fleets, instances, workers and their jobs.

All instants are naive UTC datetimes read from the database's clock; all durations are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

MAX_ATTEMPTS = 3
"""A job with this many attempts is never leased again (contract, section 2)."""

LEASE_SECONDS = 900
"""Of a lease when it is handed out; each heartbeat adds as much again to its expiry (contract, section 2)."""

SPOT_INTERRUPTION = "spot_interruption"
INSTANCE_TERMINATED = "instance_terminated"
TERMINATING = "terminating"
IDLE = "idle"
SCALE_TO_ZERO = "scale_to_zero"
AMI_ROLLOUT = "ami_rollout"
REBALANCE = "rebalance"
ZOMBIE = "zombie"
OVERDUE = "overdue"
WORKER_LOST = "worker_lost"


@dataclass(frozen=True, slots=True)
class Policy:
    """How one fleet wants to be scaled; read from the tags of its Auto Scaling group."""

    workflows: tuple[str, ...]
    min_size: int
    max_size: int
    backlog_target: int = 2
    idle_seconds: float = 120
    scale_to_zero_seconds: float = 900
    warmup_seconds: float = 300
    launch_grace_seconds: float = 300
    silent_seconds: float = 300
    drain_look_seconds: float = 3
    drain_limit_seconds: float = 60
    probe_seconds: float = 600
    job_timeout_seconds: float = 3600
    notice_seconds: float = 120
    end_margin_seconds: float = 15

    @property
    def launch_deadline_seconds(self) -> float:
        """An instance that has not registered by this age is overdue."""
        return self.warmup_seconds + self.launch_grace_seconds


@dataclass(frozen=True, slots=True)
class Drain:
    """Our newest drain of a worker, from its audit row. Once `committed`, the instance is being terminated.

    Until `finish_by` the jobs `finishing` (dispatch ids) of a worker that has been warned may still run.
    """

    row_id: int
    reason: str
    at: datetime
    committed: bool = False
    finish_by: datetime | None = None
    finishing: frozenset[int] = frozenset()

    @property
    def is_scale_in(self) -> bool:
        return self.reason in (IDLE, SCALE_TO_ZERO, AMI_ROLLOUT, REBALANCE, ZOMBIE)

    def spares(self, lease: Lease, now: datetime) -> bool:
        """Whether this job was expected to end before its warned instance does, and still has the time to."""
        return self.finish_by is not None and now < self.finish_by and lease.dispatch_id in self.finishing

    @property
    def can_be_undone(self) -> bool:
        """For demand that has come back. An old image is drained *because* it serves: its replacement is launched."""
        return self.is_scale_in and self.reason != AMI_ROLLOUT and not self.committed


@dataclass(frozen=True, slots=True)
class Lease:
    """A dispatch that is `leased`. `token` fences every change we make to it."""

    dispatch_id: int
    workflow: str
    worker_id: str
    token: str
    expires_at: datetime | None
    attempts: int
    updated_at: datetime | None = None

    def is_live(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at > now

    @property
    def handed_out_at(self) -> datetime | None:
        """When it was; None when it has been renewed since, or nobody can tell."""
        if self.expires_at is None or self.updated_at is None:
            return None
        renewed = self.expires_at - self.updated_at > timedelta(seconds=1.5 * LEASE_SECONDS)
        return None if renewed else self.updated_at

    def is_leasable(self, now: datetime) -> bool:
        """Expired, and the backend would hand it out again."""
        return not self.is_live(now) and self.attempts < MAX_ATTEMPTS

    def is_stuck(self, now: datetime) -> bool:
        """Expired with no attempt left: reported, never touched (contract, section 3)."""
        return not self.is_live(now) and self.attempts >= MAX_ATTEMPTS


@dataclass(frozen=True, slots=True)
class Worker:
    """A row of `comfy_ui_workers`. `drain` is ours and still stands; an admin's drain has `draining` alone."""

    row_id: int
    instance_id: str
    registered_at: datetime
    active_at: datetime
    seen_at: datetime | None = None
    approved: bool = True
    draining: bool = False
    drain: Drain | None = None
    leases: tuple[Lease, ...] = ()
    load: int = 0
    """Jobs that it has, as it said when it last polled."""

    def is_busy(self, now: datetime) -> bool:
        """May be working: it holds a live lease, or one that ran out unseen (silence with a lease is not death)."""
        return any(lease.is_live(now) or self._silent_since(lease) for lease in self.leases)

    def _silent_since(self, lease: Lease) -> bool:
        return self.seen_at is None or lease.expires_at is None or self.seen_at <= lease.expires_at

    def holds_live_lease(self, now: datetime) -> bool:
        return any(lease.is_live(now) for lease in self.leases)


class Standing(StrEnum):
    """What an instance is good for right now."""

    BUSY = "busy"
    IDLE = "idle"
    BOOTING = "booting"
    DRAINING = "draining"
    REPLACED = "replaced"
    """Drained because its replacement serves: what it holds is beyond desired, so it keeps no slot."""
    INTERRUPTED = "interrupted"
    SILENT = "silent"
    OVERDUE = "overdue"
    TERMINATING = "terminating"
    OUTSIDE = "outside"
    """In the group but out of its service: standby, detaching."""


SUPPLY = frozenset({Standing.BUSY, Standing.IDLE, Standing.BOOTING})
HOLDS_A_SLOT = frozenset({Standing.DRAINING, Standing.SILENT})


@dataclass(frozen=True, slots=True)
class Instance:
    """A member of a group. `state` is EC2's, None when EC2 did not (yet) tell."""

    id: str
    lifecycle: str = "InService"
    launched_at: datetime | None = None
    state: str | None = "running"
    worker: Worker | None = None
    rebalance: bool = False
    """EC2 recommends to replace it (tag `fleet:rebalance-recommended`)."""

    @property
    def is_going(self) -> bool:
        return self.lifecycle.startswith("Terminat") or self.state in ("shutting-down", "terminated")

    @property
    def exists(self) -> bool:
        """Pending or in service, and EC2 does not say that it is gone already."""
        return not self.is_going and self.is_counted

    @property
    def is_counted(self) -> bool:
        """The group holds it against desired: pending or in service, whatever has become of it since."""
        return self.lifecycle.startswith("Pending") or self.lifecycle == "InService"


@dataclass(frozen=True, slots=True)
class FailedLaunch:
    """A scaling activity that failed: AWS refused the launch. `code` is our class of it, `message` AWS's words."""

    code: str
    message: str
    at: datetime


@dataclass(frozen=True, slots=True)
class LaunchHistory:
    """What became of a fleet's launches, as their owners tell: scaling activities, EC2, the audit log.

    Read only for a fleet that is short of desired or has instances that should have registered; empty otherwise.
    """

    failed_in_a_row: int = 0
    """Instances overdue, or gone other than by Spot, that never registered: launched since the newest that did."""
    opened_at: datetime | None = None
    """When so many had failed that the breaker opened; None while it is closed."""
    refused: FailedLaunch | None = None
    """The newest attempt, if AWS refused it; None when the newest attempt brought an instance."""
    blocked_since: datetime | None = None
    """When AWS began to refuse: the first of the failed attempts in a row."""
    attempted_at: datetime | None = None
    unseen: int = 0
    """Launches under way that had not begun when the group was read: the activities are read after it."""
    unread: str = ""
    """Why the history could not be read; empty when it was, or did not matter."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """One Auto Scaling group with everything its decision needs."""

    name: str
    policy: Policy
    desired: int
    instances: tuple[Instance, ...] = ()
    queued: int = 0
    leased: int = 0
    oldest_waiting_at: datetime | None = None
    last_job_at: datetime | None = None
    az_rebalance_runs: bool = False
    launches_held: bool = False
    """Its breaker keeps the group from launching by itself."""
    launches_stopped: bool = False
    """Somebody else does, an operator or AWS: that is neither marked as ours nor taken back."""
    mark_left: bool = False
    """Nobody does, but half of what the breaker had suspended still is."""
    unknown_workflows: tuple[str, ...] = ()
    """Slugs of the policy that the database does not (yet, or any more) know: no job of theirs can be seen."""
    launches: LaunchHistory = LaunchHistory()
    unknown_tags: tuple[str, ...] = ()
    """Tags of the group that look like policy and are none: misspelt, most likely, and without effect."""

    @property
    def demand(self) -> int:
        """Jobs that are waiting and can be leased, plus jobs under a live lease."""
        return self.queued + self.leased


@dataclass(frozen=True, slots=True)
class HeldFleet:
    """A group whose policy cannot be read: its capacity stays as it is. `workflows` is what its tag says, unchecked."""

    name: str
    reason: str
    desired: int
    workflows: tuple[str, ...] = ()
    instances: tuple[Instance, ...] = ()

    @property
    def policy(self) -> Policy:
        """The times it would have by default: what is under way in it comes to its end without an operator."""
        return Policy(workflows=self.workflows, min_size=0, max_size=0)


@dataclass(frozen=True, slots=True)
class Observation:
    """The whole stage at one instant."""

    now: datetime
    fleets: tuple[Fleet, ...]
    held: tuple[HeldFleet, ...] = ()
    strays: tuple[Stray, ...] = ()
    scale_ins_running: frozenset[str] | None = None
    """Names of running `scale_in` executions; None when no drain was old enough to ask."""


@dataclass(frozen=True, slots=True)
class Stray:
    """Somebody EC2-named who is in no fleet that we act on but holds a worker row or a lease."""

    instance_id: str
    state: str | None
    """EC2's state; None when EC2 does not know the instance."""
    worker: Worker | None = None
    leases: tuple[Lease, ...] = field(default=())

    @property
    def is_gone(self) -> bool:
        """EC2 says so; or it has forgotten an instance that once registered as one of a fleet. A name that EC2 does
        not know and no fleet worker has may be an admin's machine of another account: its lease runs out by itself."""
        return self.state == "terminated" or (self.state is None and self.worker is not None)
