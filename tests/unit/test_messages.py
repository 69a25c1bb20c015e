"""Every sample of `events/` is told apart from the others; what is malformed says where."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fleet_control.errors import BadEvent
from fleet_control.messages.alarm import AlarmNotification
from fleet_control.messages.eventbridge import (
    GroupEvent,
    ImageChange,
    InstanceStateChange,
    InterruptionWarning,
    JobQueued,
)
from fleet_control.messages.parse import parse_alarm, parse_nudge, parse_rollout, parse_scale_in, parse_spot
from fleet_control.messages.tasks import (
    AmiSurvey,
    DrainOnItsWay,
    InterruptionTask,
    Notice,
    RolloutTask,
    ScaleInTask,
    Tick,
)

EVENTS = Path(__file__).parents[2] / "events"
INSTANCE = "i-0a1b2c3d4e5f60718"


def sample(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return found


SAMPLES: list[tuple[str, Callable[[Any], Any], type]] = [
    ("reconcile_tick", parse_nudge, Tick),
    ("reconcile_queue_has_jobs", parse_nudge, AlarmNotification),
    ("reconcile_job_queued", parse_nudge, JobQueued),
    ("reconcile_launch_successful", parse_nudge, GroupEvent),
    ("reconcile_launch_unsuccessful", parse_nudge, GroupEvent),
    ("reconcile_terminate_successful", parse_nudge, GroupEvent),
    ("scale_to_zero_queue_empty", parse_alarm, AlarmNotification),
    ("scale_in_look", parse_scale_in, ScaleInTask),
    ("scale_in_terminate", parse_scale_in, ScaleInTask),
    ("scale_in_release", parse_scale_in, ScaleInTask),
    ("spot_interruption_warning", parse_spot, InterruptionWarning),
    ("spot_interruption_shutting_down", parse_spot, InstanceStateChange),
    ("spot_interruption_terminated", parse_spot, InstanceStateChange),
    ("spot_interruption_respond", parse_spot, InterruptionTask),
    ("ami_rollout_image_changed", parse_rollout, ImageChange),
    ("ami_rollout_survey", parse_rollout, AmiSurvey),
    ("ami_rollout_look", parse_rollout, RolloutTask),
]


@pytest.mark.parametrize(("name", "parse", "kind"), SAMPLES)
def test_each_sample_is_the_message_it_is_named_for(name: str, parse: Callable[[Any], Any], kind: type) -> None:
    assert type(parse(sample(name))) is kind


def test_every_sample_of_these_functions_is_covered() -> None:
    prefixes = ("ami_rollout_", "reconcile_", "scale_in_", "scale_to_zero_", "spot_interruption_")
    assert {name for name, _, _ in SAMPLES} == {p.stem for p in EVENTS.glob("*.json") if p.stem.startswith(prefixes)}


def test_an_alarm_tells_its_workflow_and_state() -> None:
    (alarm,) = parse_alarm(sample("scale_to_zero_queue_empty")).alarms
    assert (alarm.name, alarm.state) == ("bp-staging-image-to-video-queue-empty", "ALARM")
    assert (alarm.dimension("WorkflowSlug"), alarm.dimension("Stage")) == ("image-to-video", "staging")
    assert alarm.dimension("Region") is None


@pytest.mark.parametrize(
    ("name", "notice"),
    [
        ("spot_interruption_warning", "interruption"),
        ("spot_interruption_shutting_down", "shutting-down"),
        ("spot_interruption_terminated", "terminated"),
    ],
)
def test_a_notice_tells_its_instance_and_kind(name: str, notice: str) -> None:
    message = parse_spot(sample(name))
    assert isinstance(message, InterruptionWarning | InstanceStateChange)
    assert (message.instance_id, message.notice) == (INSTANCE, notice)


def test_a_new_image_tells_its_stage_and_fleet() -> None:
    message = parse_rollout(sample("ami_rollout_image_changed"))
    assert isinstance(message, ImageChange)
    assert (message.stage, message.slug) == ("staging", "image-to-video")


@pytest.mark.parametrize(
    ("parse", "event", "where"),
    [
        pytest.param(parse_nudge, {}, "Field required", id="nothing at all"),
        pytest.param(parse_nudge, None, "valid dictionary", id="no object"),
        pytest.param(parse_nudge, {"step": "tock"}, "step", id="a step nobody knows"),
        pytest.param(parse_alarm, {"Records": []}, "Records", id="no record"),
        pytest.param(
            parse_alarm,
            {"Records": [{"EventSource": "aws:sns", "Sns": {"MessageId": "1", "Message": "Hello"}}]},
            "Message",
            id="a message that is no alarm",
        ),
        pytest.param(parse_scale_in, {"step": "look", "drain": {}}, "drain", id="a task without its drain"),
        pytest.param(
            parse_spot,
            sample("spot_interruption_warning") | {"detail": {"instance-id": "i-xyz", "instance-action": "terminate"}},
            "instance-id",
            id="an id that is none",
        ),
        pytest.param(
            parse_rollout,
            sample("ami_rollout_image_changed")
            | {"detail": {"operation": "Create", "name": "/bp/staging/ami/image-to-video"}},
            "operation",
            id="an image that is there for the first time",
        ),
        pytest.param(
            parse_rollout,
            sample("ami_rollout_image_changed")
            | {"detail": {"operation": "Update", "name": "/bp/staging/fleet-secret"}},
            "name",
            id="a parameter that names no image",
        ),
    ],
)
def test_what_is_malformed_says_where(parse: Callable[[Any], Any], event: Any, where: str) -> None:
    with pytest.raises(BadEvent, match=where):
        parse(event)


def test_a_fault_never_repeats_the_event() -> None:
    with pytest.raises(BadEvent) as fault:
        parse_nudge({"step": "hunter2"})
    assert "hunter2" not in str(fault.value)


def test_a_machine_is_given_whole_seconds_to_wait() -> None:
    """Step Functions refuses 3.0 where it waits by a path."""
    task = parse_scale_in(sample("scale_in_look"))
    assert isinstance(task.drain, DrainOnItsWay)
    assert json.loads(json.dumps(task.drain.model_dump(mode="json")))["look_seconds"].__class__ is int
    notice = Notice(instance_id=INSTANCE, kind="interruption", max_looks=2, look_seconds=5)
    assert notice.model_dump(mode="json")["look_seconds"].__class__ is int
    rollout = parse_rollout(sample("ami_rollout_look"))
    assert isinstance(rollout, RolloutTask)
    waits = rollout.rollout.model_dump(mode="json")
    assert {waits[name].__class__ for name in ("look_seconds", "error_seconds")} == {int}
