"""Let it finish: which jobs of a warned worker are expected to end before their instance does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from fleet_control.decide.model import Lease
from fleet_control.decide.standing import seconds_since

FEWEST_DURATIONS = 5
"""From fewer completed jobs nothing is concluded about the next one."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """One job of a warned worker; seconds. `ran` and `p90` are None when they are not known."""

    lease: Lease
    ran: float | None
    p90: float | None
    durations: int
    left: float
    finishes: bool

    def figures(self) -> dict[str, object]:
        """For the decision record."""
        return {
            "dispatch_id": self.lease.dispatch_id,
            "workflow": self.lease.workflow,
            "ran_s": self.ran,
            "p90_s": self.p90,
            "of_jobs": self.durations,
            "left_s": self.left,
            "may_finish": self.finishes,
        }


def percentile_90(durations: Sequence[float]) -> float | None:
    """By nearest rank: a duration that occurred, and nine of ten were no longer. None of too few."""
    if len(durations) < FEWEST_DURATIONS:
        return None
    return sorted(durations)[ceil(0.9 * len(durations)) - 1]


def outlooks(
    leases: Iterable[Lease],
    leased_at: Mapping[int, datetime],
    durations: Mapping[str, Sequence[float]],
    finish_by: datetime,
    now: datetime,
) -> tuple[Outlook, ...]:
    """`leased_at` by dispatch id, `durations` (seconds, of first attempts) by workflow slug."""
    left = (finish_by - now).total_seconds()
    return tuple(_outlook(lease, leased_at.get(lease.dispatch_id), durations, left, now) for lease in leases)


def _outlook(
    lease: Lease, leased_at: datetime | None, durations: Mapping[str, Sequence[float]], left: float, now: datetime
) -> Outlook:
    known = durations.get(lease.workflow, ())
    p90, ran = percentile_90(known), None if leased_at is None else seconds_since(leased_at, now)
    # Of a job whose beginning is not known the whole duration is ahead. One that has outlasted nine of ten of its kind
    # is nearer its end than any figure says: it is given the time that there is.
    needs = None if p90 is None else max(0.0, p90 - (ran or 0.0))
    finishes = lease.is_live(now) and needs is not None and left > 0 and needs <= left
    return Outlook(lease, ran, p90, len(known), left, finishes)
