"""Once a minute: everything known is published, nothing unknown looks like an empty queue."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from fleet_control.decide.metrics import Point
from fleet_control.errors import Blind, DatabaseUnavailable, FleetControlError, SchemaNotMigrated, SecretUnreadable
from fleet_control.flows.publish_metrics import Ports, publish
from fleet_control.messages.schedule import MetricsSchedule

from .recorder import FakeRecorder

NOW = datetime(2026, 1, 5, 12, 0, 30)  # noqa: DTZ001 - the database's time is naive UTC
EVERY_MINUTE = MetricsSchedule(period_seconds=60)
ById = dict[int, dict[str, Any]]


@dataclass
class FakeQueue:
    rows: dict[str, ById] = field(default_factory=dict)
    error: FleetControlError | None = None
    fails_at: str = "workflows"
    asked: list[str] = field(default_factory=list)
    window: tuple[datetime, datetime] | None = None

    def _read(self, name: str) -> ById:
        self.asked.append(name)
        if self.error and self.fails_at == name:
            raise self.error
        return self.rows.get(name, {})

    def workflows(self) -> tuple[datetime, ById]:
        return NOW, self._read("workflows")

    def live(self) -> ById:
        return self._read("live")

    def workers(self) -> ById:
        return self._read("workers")

    def finished(self) -> ById:
        return self._read("finished")

    def given_back(self, start: datetime, end: datetime) -> ById:
        self.window = (start, end)
        return self._read("given_back")


class FakeCloudWatch:
    def __init__(self) -> None:
        self.points: list[Point] = []
        self.refuse = False

    def put(self, points: Iterable[Point]) -> int:
        if self.refuse:
            raise ConnectionError("throttled")
        self.points += points
        return 1

    def value(self, metric: str, slug: str | None = None) -> float | None:
        wanted = {"Stage": "staging"} | ({"WorkflowSlug": slug} if slug else {})
        return next((p.value for p in self.points if p.name == metric and dict(p.dimensions) == wanted), None)


@pytest.fixture
def metrics() -> FakeCloudWatch:
    return FakeCloudWatch()


@pytest.fixture
def recorder() -> FakeRecorder:
    return FakeRecorder()


@pytest.fixture
def ports_for(metrics: FakeCloudWatch, recorder: FakeRecorder) -> Callable[..., Ports]:
    def build(queue: FakeQueue, served: Callable[[], frozenset[str]] = lambda: frozenset({"face-swap"})) -> Ports:
        return Ports("staging", queue, served, metrics, recorder)

    return build


def one_workflow(**parts: dict[str, Any]) -> FakeQueue:
    rows: dict[str, ById] = {"workflows": {7: {"slug": "face-swap", "active": 1, "deleted": 0}}}
    return FakeQueue(rows | {name: {7: part} for name, part in parts.items()})


def test_what_was_read_is_published(ports_for: Callable[..., Ports], metrics: FakeCloudWatch) -> None:
    queue = one_workflow(
        live={"waiting": 3, "depth": 4, "expired": 0, "stuck": 0, "oldest_age": 12},
        workers={"workers": 2, "capacity": 1},
        finished={"p50": 30, "completed": 9, "failed": 1},
        given_back={"interruptions": 2},
    )
    assert publish(EVERY_MINUTE, ports_for(queue))["published"] == len(metrics.points)
    expected = {
        "QueueDepth": 4,
        "BacklogPerInstance": 2,
        "ActiveWorkers": 2,
        "AvailableCapacity": 1,
        "JobProcessingP50": 30,
        "ErrorRate": 10,
        "LeaseExpiredCount": 0,
        "SpotInterruptionCount": 2,
        "OldestJobAge": 12,
        "StuckJobs": 0,
    }
    assert {name: metrics.value(name, "face-swap") for name in expected} == expected
    assert metrics.value("UnroutedJobs") == 0
    assert metrics.value("ControlPlaneHeartbeat") == 1


def test_an_idle_workflow_is_published_as_zeros(ports_for: Callable[..., Ports], metrics: FakeCloudWatch) -> None:
    publish(EVERY_MINUTE, ports_for(one_workflow()))
    assert metrics.value("QueueDepth", "face-swap") == 0
    assert metrics.value("JobProcessingP50", "face-swap") is None


def test_each_part_is_read_once(ports_for: Callable[..., Ports]) -> None:
    queue = one_workflow()
    publish(EVERY_MINUTE, ports_for(queue))
    assert queue.asked == ["workflows", "live", "workers", "finished", "given_back"]


def test_the_window_is_the_minute_that_ended_by_the_databases_clock(ports_for: Callable[..., Ports]) -> None:
    queue = one_workflow()
    publish(EVERY_MINUTE, ports_for(queue))
    assert queue.window == (NOW.replace(minute=59, hour=11, second=0), NOW.replace(second=0))


@pytest.mark.parametrize(
    "error", [DatabaseUnavailable("away"), SchemaNotMigrated("no tables"), SecretUnreadable("no secret")]
)
@pytest.mark.parametrize("fails_at", ["workflows", "live", "workers", "finished", "given_back"])
def test_a_database_that_cannot_be_read_publishes_nothing_not_even_the_heartbeat(
    ports_for: Callable[..., Ports],
    metrics: FakeCloudWatch,
    recorder: FakeRecorder,
    error: FleetControlError,
    fails_at: str,
) -> None:
    queue = one_workflow()
    queue.error, queue.fails_at = error, fails_at
    assert publish(EVERY_MINUTE, ports_for(queue)) == {"published": 0, "held": error.reason}
    assert metrics.points == []
    assert [(d["rule"], d["reason"]) for d in recorder.decisions] == [("hold", error.reason)]


def test_fleets_that_cannot_be_read_leave_only_unrouted_jobs_out(
    ports_for: Callable[..., Ports], metrics: FakeCloudWatch, recorder: FakeRecorder
) -> None:
    def unreadable() -> frozenset[str]:
        raise Blind("autoscaling:DescribeAutoScalingGroups failed")

    publish(EVERY_MINUTE, ports_for(one_workflow(live={"waiting": 3, "depth": 3}), unreadable))
    assert metrics.value("QueueDepth", "face-swap") == 3
    assert metrics.value("UnroutedJobs") is None
    assert metrics.value("ControlPlaneHeartbeat") == 1
    assert [type(error) for error in recorder.failures] == [Blind]


def test_jobs_whose_workflow_row_is_gone_are_unrouted(ports_for: Callable[..., Ports], metrics: FakeCloudWatch) -> None:
    queue = one_workflow()
    queue.rows["live"] = {99: {"waiting": 2, "depth": 2}}
    publish(EVERY_MINUTE, ports_for(queue))
    assert metrics.value("UnroutedJobs") == 2


def test_metrics_that_were_not_accepted_are_an_error(ports_for: Callable[..., Ports], metrics: FakeCloudWatch) -> None:
    metrics.refuse = True
    with pytest.raises(ConnectionError):
        publish(EVERY_MINUTE, ports_for(one_workflow()))


def test_the_decision_tells_what_was_published(ports_for: Callable[..., Ports], recorder: FakeRecorder) -> None:
    publish(EVERY_MINUTE, ports_for(one_workflow()))
    assert recorder.decisions == [
        {
            "rule": "publish",
            "reason": "11 values of the minute",
            "published": 11,
            "calls": 1,
            "window_start": "2026-01-05T11:59:00",
            "unpublishable": [],
        }
    ]


def test_a_minute_delivered_twice_is_summed_up_once(ports_for: Callable[..., Ports], metrics: FakeCloudWatch) -> None:
    live = {"waiting": 3, "depth": 4, "expired": 0, "stuck": 0, "oldest_age": 12}
    ports = ports_for(one_workflow(live=live, given_back={"interruptions": 2}))
    due = MetricsSchedule.model_validate({"period_seconds": 60, "time": "2026-01-05T12:00:00Z"})
    for _ in range(2):
        publish(due, ports)
    told = [(point.name, point.value) for point in metrics.points]
    assert [value for name, value in told if name == "SpotInterruptionCount"] == [2, 0]
    assert [value for name, value in told if name == "QueueDepth"] == [4, 4]


def test_a_minute_that_could_not_be_published_is_summed_up_by_its_retry(
    ports_for: Callable[..., Ports], metrics: FakeCloudWatch
) -> None:
    ports = ports_for(one_workflow(given_back={"interruptions": 2}))
    metrics.refuse = True
    with pytest.raises(ConnectionError):
        publish(EVERY_MINUTE, ports)
    metrics.refuse = False
    publish(EVERY_MINUTE, ports)
    assert metrics.value("SpotInterruptionCount", "face-swap") == 2


def test_windows_meet_however_late_each_minute_is_looked_at(ports_for: Callable[..., Ports]) -> None:
    """The second look comes a minute late, by the database's clock in the same minute as the first."""
    windows = []
    for due in ("2026-01-05T11:59:07Z", "2026-01-05T12:00:07Z"):
        queue = one_workflow()
        publish(MetricsSchedule.model_validate({"period_seconds": 60, "time": due}), ports_for(queue))
        windows.append(queue.window)
    assert windows[0] is not None and windows[1] is not None
    assert windows[0][1] == windows[1][0]
