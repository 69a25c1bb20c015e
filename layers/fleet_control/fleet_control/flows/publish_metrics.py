"""Once a minute: read the queue, turn it into the contract's metrics, publish them, or hold and say why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from fleet_control.decide.metrics import Point, Publication, Window, WorkflowLoad, publication
from fleet_control.errors import Hold
from fleet_control.messages.schedule import MetricsSchedule
from fleet_control.telemetry import Recorder

ById = Mapping[int, Mapping[str, Any]]

_NO_WORKFLOW: Mapping[str, Any] = {"slug": "", "active": False, "deleted": True}


class QueueReader(Protocol):
    def workflows(self) -> tuple[datetime, ById]: ...
    def live(self) -> ById: ...
    def workers(self) -> ById: ...
    def finished(self) -> ById: ...
    def given_back(self, start: datetime, end: datetime) -> ById: ...


class MetricSink(Protocol):
    def put(self, points: Iterable[Point]) -> int: ...


@dataclass
class Counted:
    """The last window whose interruptions this execution environment has added to their Sum."""

    window: Window | None = None


@dataclass(frozen=True)
class Ports:
    """`served_workflows` reads the fleets' own lists of slugs; it raises Blind when AWS cannot be read."""

    stage: str
    queue: QueueReader
    served_workflows: Callable[[], frozenset[str]]
    metrics: MetricSink
    recorder: Recorder
    counted: Counted = field(default_factory=Counted)


def publish(schedule: MetricsSchedule, ports: Ports) -> dict[str, object]:
    """Gives what was published, or why nothing was. A failed PutMetricData is an error: it must be seen."""
    try:
        now, window, loads = gather(schedule, ports.queue)
    except Hold as hold:
        # No heartbeat either: its silence is the alarm.
        ports.recorder.decision(rule="hold", reason=hold.reason, detail=str(hold), published=0)
        return {"published": 0, "held": hold.reason}
    result = publication(ports.stage, now, window, loads, _served(ports))
    if window == ports.counted.window:
        result = replace(result, points=tuple(map(_adding_nothing, result.points)))
    calls = ports.metrics.put(result.points)
    ports.counted.window = window
    return _record(ports.recorder, result, window, calls)


def _adding_nothing(point: Point) -> Point:
    """A schedule delivers at least once, and a Sum must not be added to twice. Gauges may be told again."""
    return replace(point, value=0) if point.name == "SpotInterruptionCount" else point


def gather(schedule: MetricsSchedule, queue: QueueReader) -> tuple[datetime, Window, list[WorkflowLoad]]:
    """Five statements; the database's clock decides the window."""
    now, workflows = queue.workflows()
    window = Window.before(schedule.due(now), schedule.period_seconds)
    parts = (queue.live(), queue.workers(), queue.finished(), queue.given_back(window.start, window.end))
    loads = []
    # A job may outlive its workflow's row: nobody serves it, and it must be seen.
    for workflow_id, workflow in (dict.fromkeys(parts[0], _NO_WORKFLOW) | dict(workflows)).items():
        numbers = {name: value for part in parts for name, value in part.get(workflow_id, {}).items()}
        loads.append(_load(workflow, numbers))
    return now, window, loads


def _load(workflow: Mapping[str, Any], numbers: Mapping[str, Any]) -> WorkflowLoad:
    active, deleted = bool(workflow["active"]), bool(workflow["deleted"])
    return WorkflowLoad(slug=workflow["slug"], active=active, deleted=deleted, **numbers)


def _served(ports: Ports) -> frozenset[str] | None:
    try:
        return ports.served_workflows()
    except Hold as hold:
        # The queue is known all the same; only UnroutedJobs is not, and so it is left out.
        ports.recorder.failure(hold, reason=hold.reason)
        return None


def _record(recorder: Recorder, result: Publication, window: Window, calls: int) -> dict[str, object]:
    summary = {"published": len(result.points), "calls": calls, "window_start": window.start.isoformat()}
    left_out = f", left out: {', '.join(result.unpublishable)}" if result.unpublishable else ""
    reason = f"{summary['published']} values of the minute{left_out}"
    recorder.decision(rule="publish", reason=reason, **summary, unpublishable=list(result.unpublishable))
    return summary
