"""The contract's metrics, as a table: what was read, what is published."""

from datetime import datetime, timedelta

import pytest
from fleet_control.decide.metrics import Publication, Window, WorkflowLoad, publication
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 1, 5, 12, 0, 30)  # noqa: DTZ001 - the database's time is naive UTC
WINDOW = Window(NOW - timedelta(seconds=90), NOW - timedelta(seconds=30))
IDLE = {
    "QueueDepth": 0,
    "BacklogPerInstance": 0,
    "ActiveWorkers": 0,
    "AvailableCapacity": 0,
    "LeaseExpiredCount": 0,
    "OldestJobAge": 0,
    "StuckJobs": 0,
    "SpotInterruptionCount": 0,
}


def publish(*loads: WorkflowLoad, served: frozenset[str] | None = frozenset()) -> Publication:
    return publication("staging", NOW, WINDOW, loads, served)


def values(found: Publication, slug: str | None = None) -> dict[str, float]:
    """Metric → value of one workflow, or of the stage alone."""
    wanted = (("Stage", "staging"),) if slug is None else (("Stage", "staging"), ("WorkflowSlug", slug))
    return {point.name: point.value for point in found.points if point.dimensions == wanted}


@pytest.mark.parametrize(
    ("name", "load", "changes"),
    [
        ("an idle workflow is all zeros, none missing", {}, {}),
        (
            "backlog is shared by the active workers",
            {"depth": 5, "workers": 2},
            {"QueueDepth": 5, "BacklogPerInstance": 2.5, "ActiveWorkers": 2},
        ),
        ("backlog without workers is the depth", {"depth": 5}, {"QueueDepth": 5, "BacklogPerInstance": 5}),
        ("free slots", {"workers": 3, "capacity": 2}, {"ActiveWorkers": 3, "AvailableCapacity": 2}),
        ("a median of zero seconds is a value", {"p50": 0.0}, {"JobProcessingP50": 0}),
        ("a median", {"p50": 42.5}, {"JobProcessingP50": 42.5}),
        ("no failure is an error rate of zero", {"completed": 4}, {"ErrorRate": 0}),
        ("failures alone are all of it", {"failed": 2}, {"ErrorRate": 100}),
        ("a rate in percent", {"completed": 3, "failed": 1}, {"ErrorRate": 25}),
        ("leases expired and stuck", {"expired": 3, "stuck": 1}, {"LeaseExpiredCount": 3, "StuckJobs": 1}),
        ("the oldest job's age", {"oldest_age": 71}, {"OldestJobAge": 71}),
        ("a job from the clock's future has no age", {"oldest_age": -2}, {}),
        ("interruptions", {"interruptions": 2}, {"SpotInterruptionCount": 2}),
    ],
)
def test_a_workflow_is_published_as_the_contract_defines(
    name: str, load: dict[str, float], changes: dict[str, float]
) -> None:
    found = publish(WorkflowLoad("face-swap", **load))  # type: ignore[arg-type]
    assert values(found, "face-swap") == IDLE | changes, name


def test_units_are_those_of_the_contract() -> None:
    found = publish(WorkflowLoad("face-swap", p50=1.0, completed=1))
    units = {point.name: point.unit for point in found.points}
    assert {name for name, unit in units.items() if unit == "Seconds"} == {"JobProcessingP50", "OldestJobAge"}
    assert {name for name, unit in units.items() if unit == "Percent"} == {"ErrorRate"}
    assert set(units.values()) == {"Seconds", "Percent", "Count"}


@pytest.mark.parametrize("state", [{"active": False}, {"deleted": True}])
def test_only_active_workflows_are_published(state: dict[str, bool]) -> None:
    found = publish(WorkflowLoad("face-swap", depth=3, **state))
    assert values(found, "face-swap") == {}


@pytest.mark.parametrize(
    ("name", "load", "served", "expected"),
    [
        ("served by a fleet", WorkflowLoad("a", waiting=3), {"a"}, 0),
        ("served by none", WorkflowLoad("a", waiting=3), {"b"}, 3),
        ("inactive but served: workers still take its jobs", WorkflowLoad("a", active=False, waiting=3), {"a"}, 0),
        ("inactive and unserved", WorkflowLoad("a", active=False, waiting=3), set(), 3),
        ("deleted, whoever serves it", WorkflowLoad("a", deleted=True, waiting=3), {"a"}, 3),
        ("leased jobs are routed already", WorkflowLoad("a", depth=3, waiting=0), set(), 0),
    ],
)
def test_unrouted_jobs_are_those_no_fleet_will_run(
    name: str, load: WorkflowLoad, served: set[str], expected: int
) -> None:
    assert values(publish(load, served=frozenset(served)))["UnroutedJobs"] == expected, name


def test_fleets_that_cannot_be_read_leave_unrouted_jobs_out_and_nothing_else() -> None:
    found = publish(WorkflowLoad("face-swap", waiting=3), served=None)
    assert values(found) == {"JobsGoingRound": 0, "ControlPlaneHeartbeat": 1}
    assert values(found, "face-swap") == IDLE


def test_without_any_workflow_the_control_plane_still_beats() -> None:
    assert values(publish()) == {"UnroutedJobs": 0, "JobsGoingRound": 0, "ControlPlaneHeartbeat": 1}


def test_jobs_that_go_round_are_counted_over_all_workflows_active_or_not() -> None:
    found = publish(WorkflowLoad("a", going_round=1), WorkflowLoad("b", going_round=2, active=False))
    assert values(found)["JobsGoingRound"] == 3


def test_the_heartbeat_is_last_and_what_is_summed_comes_just_before() -> None:
    found = publish(*(WorkflowLoad(f"w-{number}") for number in range(3)))
    names = [point.name for point in found.points]
    assert names[-1] == "ControlPlaneHeartbeat"
    assert set(names[-4:-1]) == {"SpotInterruptionCount"}
    assert "SpotInterruptionCount" not in names[:-4]


def test_what_was_given_back_carries_the_time_of_its_window_and_gauges_that_of_the_look() -> None:
    found = publish(WorkflowLoad("face-swap"))
    given_back = {"SpotInterruptionCount", "JobsGoingRound"}
    assert {point.at for point in found.points if point.name in given_back} == {WINDOW.start}
    assert {point.at for point in found.points if point.name not in given_back} == {NOW}


@pytest.mark.parametrize("slug", ["", "näher", ":colon-first", " space-first", "tab\tinside"])
def test_a_slug_cloudwatch_would_refuse_spoils_only_itself(slug: str) -> None:
    found = publish(WorkflowLoad(slug), WorkflowLoad("face-swap"))
    assert found.unpublishable == (slug,)
    assert values(found, "face-swap") == IDLE
    assert values(found)["ControlPlaneHeartbeat"] == 1


@pytest.mark.parametrize(
    ("moment", "start", "end"),
    [("12:00:00", "11:59", "12:00"), ("12:00:01", "11:59", "12:00"), ("12:00:59", "11:59", "12:00")],
)
def test_a_window_is_the_last_minute_that_has_ended(moment: str, start: str, end: str) -> None:
    day = "2026-01-05T"
    window = Window.before(datetime.fromisoformat(day + moment), 60)
    assert (window.start, window.end) == (datetime.fromisoformat(day + start), datetime.fromisoformat(day + end))


@given(
    moment=st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2040, 1, 1)),  # noqa: DTZ001
    period=st.sampled_from([5, 10, 60, 300]),
)
def test_looks_one_period_apart_tile_the_time(moment: datetime, period: int) -> None:
    first = Window.before(moment, period)
    second = Window.before(moment + timedelta(seconds=period), period)
    assert first.end == second.start
    assert first.end - first.start == timedelta(seconds=period)
    assert timedelta(0) <= moment - first.end < timedelta(seconds=period)
