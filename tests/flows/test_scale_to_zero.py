"""The queue-empty alarm with fakes around it: the database has the last word."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fleet_control.errors import Blind, DatabaseUnavailable, SchemaNotMigrated
from fleet_control.flows.scale_to_zero import Ports, scale_to_zero
from fleet_control.messages.alarm import Alarm, parse_alarm

from .fakes import Stage, ago, group_name, ports_of

SAMPLE = Path(__file__).parents[2] / "events" / "scale_to_zero_queue_empty.json"
GROUP = group_name("image-to-video")


def alarm(**changes: Any) -> Alarm:
    event = json.loads(SAMPLE.read_text())
    body = json.loads(event["Records"][0]["Sns"]["Message"]) | changes
    event["Records"][0]["Sns"]["Message"] = json.dumps(body)
    return parse_alarm(event).alarms[0]


def deliver(stage: Stage, **changes: Any) -> dict[str, Any]:
    return scale_to_zero(ports_of(stage, Ports), alarm(**changes))


@pytest.fixture
def stage() -> Stage:
    """Three idle instances, an empty queue, the last job an hour ago."""
    stage = Stage()
    stage.fleet(desired=3)
    for n in (1, 2, 3):
        stage.instance(f"i-{n}", active_at=ago(3600))
    stage.job(status="completed", updated_at=ago(3600))
    return stage


def test_an_empty_queue_brings_every_idle_instance_down(stage: Stage) -> None:
    answer = deliver(stage)
    assert (answer["outcome"], answer["started"]) == ("started", ["i-1", "i-2", "i-3"])
    assert [call[1] for call in stage.made("drain")] == ["scale_to_zero"] * 3
    assert list(stage.executions) == ["i-1-1-0", "i-2-2-0", "i-3-3-0"]
    assert stage.groups[GROUP].desired == 3, "only reconcile sets desired"


def test_the_alarm_delivered_twice_starts_nothing_more(stage: Stage) -> None:
    deliver(stage)
    assert deliver(stage)["outcome"] == "nothing to do"
    assert len(stage.executions) == 3


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        pytest.param({}, "1 jobs have come since the alarm", id="a job waits"),
        pytest.param(
            {"status": "leased", "lease_expires_at": ago(-600), "worker_id": "i-1"}, "1 jobs", id="one is served"
        ),
        pytest.param({"status": "leased", "lease_expires_at": ago(5), "attempts": 1}, "1 jobs", id="one will be again"),
        pytest.param(
            {"status": "completed", "updated_at": ago(60)},
            "an old alarm: the fleet worked 60 s ago",
            id="a late notice",
        ),
    ],
)
def test_a_job_since_the_alarm_aborts(stage: Stage, given: dict[str, Any], reason: str) -> None:
    stage.job(**given)
    answer = deliver(stage)
    assert answer["outcome"] == "aborted"
    assert answer["reason"].startswith(reason)
    assert not stage.made("drain")


def test_an_alarm_that_is_as_quick_as_the_sampling_allows_is_believed(stage: Stage) -> None:
    stage.job(status="completed", updated_at=ago(15 * 60 - 110))
    assert deliver(stage)["outcome"] == "started"


def test_a_worker_that_has_just_finished_speaks_against_an_old_alarm(stage: Stage) -> None:
    """The newest job may be one that runs elsewhere, and then says nothing of the fleet."""
    stage.workers["i-2"]["active_at"] = ago(5)
    assert deliver(stage)["reason"] == "an old alarm: the fleet worked 5 s ago"


def test_a_short_window_means_some_quiet_too(stage: Stage) -> None:
    group = stage.groups[GROUP]
    stage.groups[GROUP] = replace(group, tags={**group.tags, "fleet:scale-to-zero-minutes": "1"})
    stage.workers["i-2"]["active_at"] = ago(19)
    assert deliver(stage)["outcome"] == "aborted"
    stage.workers["i-2"]["active_at"] = ago(21)
    assert deliver(stage)["outcome"] == "started"


def test_an_instance_that_is_still_pending_stays(stage: Stage) -> None:
    group = stage.groups[GROUP]
    first = replace(group.instances[0], lifecycle="Pending")
    stage.groups[GROUP] = replace(group, instances=(first, *group.instances[1:]))
    assert deliver(stage)["started"] == ["i-2", "i-3"]


def test_a_stuck_job_does_not_keep_the_fleet_up(stage: Stage) -> None:
    stage.job(status="leased", lease_expires_at=ago(3600), attempts=3, updated_at=ago(3600), worker_id="i-9")
    assert deliver(stage)["outcome"] == "started"


@pytest.mark.parametrize(
    ("worker", "left"),
    [
        pytest.param({"is_draining": 1}, "i-2", id="an admin's drain is left alone"),
        pytest.param({"last_seen_at": ago(400)}, "i-2", id="a silent worker is not judged here"),
        pytest.param({"is_approved": 0}, "i-2", id="nor one that is not approved"),
    ],
)
def test_who_is_not_idle_is_left_alone(stage: Stage, worker: dict[str, Any], left: str) -> None:
    stage.workers[left] |= worker
    assert deliver(stage)["started"] == ["i-1", "i-3"]


def test_a_worker_that_holds_a_stuck_lease_is_left_alone(stage: Stage) -> None:
    stage.job(status="leased", lease_expires_at=ago(3600), attempts=3, updated_at=ago(3600), worker_id="i-2")
    assert deliver(stage)["started"] == ["i-1", "i-3"]


def test_the_fleets_minimum_stays(stage: Stage) -> None:
    stage.groups[GROUP] = replace(stage.groups[GROUP], min_size=1)
    assert deliver(stage)["started"] == ["i-2", "i-3"]


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        pytest.param({"NewStateValue": "OK"}, "ignored", id="the alarm has cleared"),
        pytest.param({"NewStateValue": "INSUFFICIENT_DATA"}, "ignored", id="missing data is not an empty queue"),
        pytest.param({"Trigger": {"MetricName": "QueueDepth", "Dimensions": []}}, "ignored", id="no workflow named"),
        pytest.param(
            {"Trigger": {"Dimensions": [{"name": "WorkflowSlug", "value": "nobodys"}]}},
            "ignored",
            id="served by no fleet",
        ),
        pytest.param(
            {
                "Trigger": {
                    "Dimensions": [
                        {"name": "WorkflowSlug", "value": "image-to-video"},
                        {"name": "Stage", "value": "production"},
                    ]
                }
            },
            "ignored",
            id="another stage's alarm",
        ),
    ],
)
def test_alarms_that_mean_nothing_here(stage: Stage, changes: dict[str, Any], outcome: str) -> None:
    assert deliver(stage, **changes)["outcome"] == outcome
    assert not stage.made("drain")


def test_a_fleet_with_a_bad_tag_is_held(stage: Stage) -> None:
    tags = dict(stage.groups[GROUP].tags) | {"fleet:idle-seconds": "never"}
    stage.groups[GROUP] = replace(stage.groups[GROUP], tags=tags)
    answer = deliver(stage)
    assert answer["outcome"] == "hold"
    assert f"group {GROUP}: tag fleet:idle-seconds = 'never'" in answer["reason"]
    assert not stage.made("drain")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("demand", DatabaseUnavailable("away")),
        ("live", SchemaNotMigrated("no table")),
        ("fleet", DatabaseUnavailable("away")),
        ("groups", Blind("away")),
    ],
)
def test_blind_fails_so_that_the_delivery_is_repeated(stage: Stage, call: str, error: Exception) -> None:
    stage.broken[call] = error
    with pytest.raises(type(error)):
        deliver(stage)
    assert not stage.made("drain")


def test_a_job_that_comes_after_the_drain_brings_its_worker_back(stage: Stage) -> None:
    """The last word is scale_in's: it looks again before anything is terminated."""
    deliver(stage)
    stage.job()
    assert [worker["is_draining"] for worker in stage.workers.values()] == [1, 1, 1]
    assert all(row["metadata"] == {"reason": "scale_to_zero"} for row in stage.audit)
