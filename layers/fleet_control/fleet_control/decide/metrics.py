"""From what was read of the queue to the contract's metrics (platform contract, section 4).

A zero is data and is published, idle workflows included. What is not known is left out: a missing value must never
look like an empty queue.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

Dimensions = tuple[tuple[str, str], ...]

# CloudWatch refuses a whole batch for one dimension value outside ASCII.
_DIMENSION_VALUE = re.compile(r"[\x21-\x39\x3b-\x7e][\x20-\x7e]*\Z")


@dataclass(frozen=True, slots=True)
class WorkflowLoad:
    """One workflow as it is now. Ages and durations in seconds; None is "there was none", never zero.

    `waiting` are queued jobs that may still be leased, `depth` those and the leased ones below the last attempt.
    `going_round` are jobs given back in the window, for the third time or more, though Spot took nobody.
    """

    slug: str
    active: bool = True
    deleted: bool = False
    waiting: int = 0
    depth: int = 0
    expired: int = 0
    stuck: int = 0
    oldest_age: float | None = None
    workers: int = 0
    capacity: int = 0
    p50: float | None = None
    completed: int = 0
    failed: int = 0
    interruptions: int = 0
    going_round: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """Half open, [start, end); consecutive ones tile the time, so that a Sum counts each interruption once."""

    start: datetime
    end: datetime

    @classmethod
    def before(cls, moment: datetime, period_seconds: int) -> Window:
        """The last whole period that had ended at `moment` (UTC); periods count from the epoch."""
        seconds = int((moment - _EPOCH.replace(tzinfo=moment.tzinfo)).total_seconds())
        end = moment.replace(microsecond=0) - timedelta(seconds=seconds % period_seconds)
        return cls(end - timedelta(seconds=period_seconds), end)


_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - takes the zone of what it is compared with


@dataclass(frozen=True, slots=True)
class Point:
    """One value for CloudWatch; `at` is UTC."""

    name: str
    unit: str
    value: float
    at: datetime
    dimensions: Dimensions


@dataclass(frozen=True, slots=True)
class Publication:
    """What to publish, and the workflows that cannot be: their slugs are no legal dimension values."""

    points: tuple[Point, ...]
    unpublishable: tuple[str, ...]


def publication(
    stage: str, now: datetime, window: Window, loads: Sequence[WorkflowLoad], served: frozenset[str] | None
) -> Publication:
    """`served`: slugs that some fleet serves; None when the fleets could not be read.

    The order is deliberate. Gauges first, since publishing one twice changes nothing; what is summed up comes last
    but for the heartbeat, which is true only when all the rest has been accepted.
    """
    active = [load for load in loads if load.active and not load.deleted]
    legal = [load for load in active if _DIMENSION_VALUE.match(load.slug)]
    stage_only: Dimensions = (("Stage", stage),)
    points: list[Point] = []
    for load in legal:
        dimensions = (*stage_only, ("WorkflowSlug", load.slug))
        points += [Point(name, unit, value, now, dimensions) for name, unit, value in _gauges(load)]
    if served is not None:
        points.append(Point("UnroutedJobs", "Count", unrouted(loads, served), now, stage_only))
    points.append(Point("JobsGoingRound", "Count", sum(load.going_round for load in loads), window.start, stage_only))
    for load in legal:
        dimensions = (*stage_only, ("WorkflowSlug", load.slug))
        points.append(Point("SpotInterruptionCount", "Count", load.interruptions, window.start, dimensions))
    points.append(Point("ControlPlaneHeartbeat", "Count", 1, now, stage_only))
    return Publication(tuple(points), tuple(load.slug for load in active if load not in legal))


def unrouted(loads: Iterable[WorkflowLoad], served: frozenset[str]) -> int:
    """Queued jobs that no fleet will ever run: of a workflow without one, or of a deleted workflow."""
    return sum(load.waiting for load in loads if load.deleted or load.slug not in served)


def _gauges(load: WorkflowLoad) -> Iterator[tuple[str, str, float]]:
    yield "QueueDepth", "Count", load.depth
    yield "BacklogPerInstance", "Count", load.depth / max(1, load.workers)
    yield "ActiveWorkers", "Count", load.workers
    yield "AvailableCapacity", "Count", load.capacity
    if load.p50 is not None:
        yield "JobProcessingP50", "Seconds", load.p50
    finished = load.completed + load.failed
    if finished:
        yield "ErrorRate", "Percent", 100 * load.failed / finished
    yield "LeaseExpiredCount", "Count", load.expired
    yield "OldestJobAge", "Seconds", max(0.0, load.oldest_age or 0.0)
    yield "StuckJobs", "Count", load.stuck
