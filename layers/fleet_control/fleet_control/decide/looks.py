"""When the machine of an instance that has to go looks again, or that it need not: each look costs transitions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from math import ceil

from fleet_control.decide.hook import Answer
from fleet_control.decide.model import Drain, Worker
from fleet_control.decide.scale_in import Next, refused
from fleet_control.decide.standing import seconds_since

LOOK_SECONDS = 5
MOST_LOOKS_APART = 4
"""Of a look's seconds: what happens in between, `reconcile` sees at its own next look."""


@dataclass(frozen=True, slots=True)
class NextLook:
    """In so many whole seconds, None when nothing is left to be seen. `polled_at` is the first poll after the drain."""

    seconds: int | None
    polled_at: datetime | None = None


def first_look(margin: float) -> int:
    """Seconds, three of them within the margin (seconds) before the end."""
    return max(1, min(LOOK_SECONDS, ceil(margin / 3)))


def after_warning(
    worker: Worker, drain: Drain, *, look: int, limit: float, polled_at: datetime | None, now: datetime
) -> NextLook:
    """What is not spared has been given back. Done when no poll under way can bring a lease any more, and no job is
    let finish. `look` and `limit` in seconds."""
    age = seconds_since(drain.at, now)
    if drain.finish_by is not None and any(drain.spares(lease, now) for lease in worker.leases):
        # It works, so it polls only if it takes several jobs at a time; a sign of life may be a heartbeat. One look
        # when no poll can bring more, then straight to the end.
        left = seconds_since(now, drain.finish_by)
        return NextLook(_whole(min(limit - age, left) if age < limit else left), polled_at)
    verdict = refused(worker, drain.at, limit, polled_at, now)
    goes_on = verdict.next is Next.WAIT
    return NextLook(_whole(_growing(look, age, limit)) if goes_on else None, verdict.polled_at)


def for_hook(answer: Answer, look: int, now: datetime) -> int:
    """Seconds until the group's next answer. Spot's end is waited for in one go: that the job has ended before,
    `reconcile` sees. Any other end is kept off by our heartbeats, which are never far apart."""
    worker = answer.worker
    if answer.until is None or worker is None or worker.drain is None:
        return look
    left = seconds_since(now, answer.until)
    age = seconds_since(worker.drain.at, now)
    return _whole(_growing(look, age, age + left) if answer.extend else left)


def _growing(look: int, age: float, limit: float) -> float:
    """As long again as the drain is old, in bounds; never beyond the limit of its age."""
    return min(max(look, min(age, MOST_LOOKS_APART * look)), limit - age)


def _whole(seconds: float) -> int:
    """A machine waits whole seconds, at least one."""
    return max(1, ceil(seconds))
