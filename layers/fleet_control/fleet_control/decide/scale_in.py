"""One drain, looked at again and again: wait, terminate, or let the worker serve on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from fleet_control.decide.model import AMI_ROLLOUT, REBALANCE, ZOMBIE, Drain, Worker
from fleet_control.decide.standing import seconds_since


class Next(StrEnum):
    WAIT = "wait"
    TERMINATE = "terminate"
    RELEASE = "release"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the machine does next and why. `polled_at` is the first poll seen after the drain; for `rest` (seconds) no
    look is worth what it costs."""

    next: Next
    reason: str
    polled_at: datetime | None = None
    rest: float = 0


def look(
    worker: Worker | None,
    *,
    drain_id: int,
    waiting: int,
    limit_seconds: float,
    polled_at: datetime | None,
    now: datetime,
    others_at: datetime | None = None,
) -> Verdict:
    """`waiting` are the fleet's jobs that could be leased this moment; `polled_at` is what the last look saw;
    `others_at` is when the backend last heard of any other worker of the stage; a zombie's `polled_at` is the first."""
    gone = _not_ours(worker, drain_id)
    if gone is not None or worker is None or worker.drain is None:
        return Verdict(Next.DONE, gone or "no drain")
    if worker.drain.committed:
        return Verdict(Next.TERMINATE, "termination was decided before")
    if worker.drain.reason == REBALANCE:
        return _replaced(worker, worker.drain, limit_seconds, polled_at, now)
    if worker.drain.reason == ZOMBIE:
        return _silent(worker, worker.drain, limit_seconds, others_at, heard_at=polled_at, now=now)
    stays = _stays(worker, worker.drain, waiting, now)
    if stays is not None:
        return Verdict(Next.RELEASE, stays)
    return refused(worker, worker.drain.at, limit_seconds, polled_at, now)


def _stays(worker: Worker, drain: Drain, waiting: int, now: datetime) -> str | None:
    if worker.is_busy(now):
        return "a job slipped in: it is finished, not killed"
    if waiting and drain.reason != AMI_ROLLOUT:  # under load nothing would ever be rolled out
        return f"{waiting} jobs wait: serving them is quicker than launching"
    return None


def _not_ours(worker: Worker | None, drain_id: int) -> str | None:
    if worker is None:
        return "the worker's row is gone"
    if not worker.draining or worker.drain is None:
        return "somebody has undone the drain"
    if worker.drain.row_id != drain_id and not worker.drain.committed:
        return "a newer drain stands"
    return None


LONGEST_WATCH_SECONDS = 780
"""A machine ends after 900 s; a longer job is looked at again by an execution of its own, once a pick-up period."""


def _replaced(worker: Worker, drain: Drain, limit: float, polled_at: datetime | None, now: datetime) -> Verdict:
    """Its replacement serves: neither a job of its own nor one that waits keeps it, but it ends what it has begun."""
    if not worker.is_busy(now):
        return refused(worker, drain.at, limit, polled_at, now)
    age = seconds_since(drain.at, now)
    if age >= LONGEST_WATCH_SECONDS:
        return Verdict(Next.DONE, "its job runs long: reconcile starts the next watch")
    return Verdict(Next.WAIT, "it ends its last job", rest=min(age, limit / 2))


def _silent(
    worker: Worker, drain: Drain, limit: float, others_at: datetime | None, *, heard_at: datetime | None, now: datetime
) -> Verdict:
    """Waiting jobs do not keep it, since it serves nobody; a single sign of life does."""
    if worker.holds_live_lease(now) or (worker.seen_at is not None and worker.seen_at > drain.at):
        return Verdict(Next.RELEASE, "it lives")
    why = f"silent for {seconds_since(worker.seen_at, now):.0f} s and without a lease"
    return _last_chance(drain.at, limit, others_at, heard_at=heard_at, now=now, why=why)


def _last_chance(
    since: datetime, limit: float, others_at: datetime | None, *, heard_at: datetime | None, now: datetime, why: str
) -> Verdict:
    """Those who were heard until `since` and not after may be cut off, too, or work without a word: they are waited
    for. Once one is heard (`heard_at`, kept as `polled_at`) the limit begins: who was cut off comes a moment behind."""
    if heard_at is None and _fell_silent(others_at, since, limit):
        return _unheard(seconds_since(since, now), limit)
    if heard_at is None and others_at is not None and others_at > since:
        heard_at = others_at
    if seconds_since(heard_at or since, now) >= limit:
        return Verdict(Next.TERMINATE, why)
    return Verdict(Next.WAIT, "a last chance to be heard of", heard_at)


def _unheard(age: float, limit: float) -> Verdict:
    """Left to the next look early enough that a whole limit of this watch follows whoever is heard in the end."""
    if age >= LONGEST_WATCH_SECONDS - limit:
        return Verdict(Next.RELEASE, UNHEARD)
    return Verdict(Next.WAIT, UNHEARD, rest=min(age, limit / 5))


LATELY_SECONDS = 300
"""Longer than a stage is unheard of while somebody is still found silent or overdue (`quiet`, decide/silence.py)."""
UNHEARD = "nobody else has been heard of since: the backend may be away"


def _fell_silent(others_at: datetime | None, since: datetime, limit: float) -> bool:
    """The others were heard of until about then and never after. Who was silent long before tells nothing."""
    lately = timedelta(seconds=max(limit, LATELY_SECONDS))
    return others_at is not None and since - lately < others_at <= since


def look_overdue(
    registered: bool,
    since: datetime,
    limit_seconds: float,
    now: datetime,
    others_at: datetime | None = None,
    *,
    heard_at: datetime | None = None,
) -> Verdict:
    """An instance that had not registered by its deadline: looked at again before it goes. `heard_at` is the first sign
    of another since, as the last look's `polled_at` says."""
    if registered:
        return Verdict(Next.DONE, "it has registered")
    return _last_chance(since, limit_seconds, others_at, heard_at=heard_at, now=now, why="it has not registered")


def refused(worker: Worker, drained_at: datetime, limit: float, polled_at: datetime | None, now: datetime) -> Verdict:
    """A worker polls one request at a time. The first poll seen after the drain may have read the row before it;
    the second one proves that the first has been answered, and a lease it got would be visible."""
    seen = worker.seen_at if worker.seen_at is not None and worker.seen_at > drained_at else None
    if polled_at is not None and seen is not None and seen > polled_at:
        return Verdict(Next.TERMINATE, "polled twice since the drain and was refused", polled_at)
    if seconds_since(drained_at, now) >= limit:
        return Verdict(Next.TERMINATE, f"no poll within {limit:.0f} s of the drain, and no lease", polled_at)
    return Verdict(Next.WAIT, "waiting for the worker to poll and be refused", polled_at or seen)


def decrement(desired: int, existing: int, min_size: int) -> bool:
    """Whether the termination takes desired down with it: not where a rebalance left more than desired, nor at min."""
    return desired >= existing and desired > min_size
