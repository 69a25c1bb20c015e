"""Every sample of `events/` is told apart from the others; what is malformed says where."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fleet_control.errors import BadEvent, UnknownEvent
from fleet_control.messages.alarm import AlarmNotification, parse_alarm
from fleet_control.messages.eventbridge import (
    GroupEvent,
    ImageChange,
    InstanceStateChange,
    InterruptionWarning,
    RebalanceRecommendation,
    TerminateAction,
)
from fleet_control.messages.nudge import parse_job_queued, parse_nudge
from fleet_control.messages.queue import QueueBatch, queue_batch
from fleet_control.messages.rollout import parse_rollout
from fleet_control.messages.spot import parse_spot
from fleet_control.messages.tasks import (
    AmiSurvey,
    DrainOnItsWay,
    InterruptionTask,
    Notice,
    RolloutTask,
    ScaleInTask,
    Tick,
    parse_scale_in,
)

EVENTS = Path(__file__).parents[2] / "events"
INSTANCE = "i-0a1b2c3d4e5f60718"


def sample(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return found


SAMPLES: list[tuple[str, Callable[[Any], Any], type]] = [
    ("reconcile_tick", parse_nudge, Tick),
    ("reconcile_queue_has_jobs", parse_nudge, AlarmNotification),
    ("reconcile_job_queued", queue_batch, QueueBatch),
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
    ("spot_interruption_rebalance", parse_spot, RebalanceRecommendation),
    ("spot_interruption_terminate_action", parse_spot, TerminateAction),
    ("spot_interruption_respond", parse_spot, InterruptionTask),
    ("spot_interruption_respond_terminating", parse_spot, InterruptionTask),
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
        ("spot_interruption_rebalance", "rebalance"),
        ("spot_interruption_terminate_action", "terminating"),
    ],
)
def test_a_notice_tells_its_instance_and_kind(name: str, notice: str) -> None:
    message = parse_spot(sample(name))
    assert not isinstance(message, InterruptionTask)
    assert (message.instance_id, message.notice) == (INSTANCE, notice)


def test_a_new_image_tells_its_stage_and_fleet() -> None:
    message = parse_rollout(sample("ami_rollout_image_changed"))
    assert isinstance(message, ImageChange)
    assert (message.stage, message.slug) == ("staging", "image-to-video")


def job_queued(slug: str) -> str:
    batch = queue_batch(sample("reconcile_job_queued"))
    assert batch is not None
    return json.dumps(json.loads(batch.messages[0].body) | {"detail": {"workflow_slug": slug}})


def test_a_workflow_that_the_backend_can_store_can_be_announced() -> None:
    assert parse_job_queued(job_queued("x" * 255)).names == {"x" * 255}


@pytest.mark.parametrize(
    ("parse", "event", "where"),
    [
        pytest.param(parse_nudge, {}, "Field required", id="nothing at all"),
        pytest.param(parse_nudge, None, "valid dictionary", id="no object"),
        pytest.param(parse_nudge, {"step": "tick", "tick": "tock"}, "tick", id="a tick that is no number"),
        pytest.param(parse_nudge, {"step": 7}, "step", id="a step that is no text"),
        pytest.param(parse_job_queued, "{", "Invalid JSON", id="a body that is no JSON"),
        pytest.param(parse_job_queued, '{"source": "bp.backend"}', "detail-type", id="a body that says half its kind"),
        pytest.param(
            parse_job_queued, job_queued("x" * 256), "workflow_slug", id="a workflow longer than the backend can store"
        ),
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
            parse_spot,
            sample("spot_interruption_terminate_action") | {"detail": {"EC2InstanceId": INSTANCE}},
            "AutoScalingGroupName",
            id="a hook of no group",
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


@pytest.mark.parametrize(
    ("parse", "event"),
    [
        pytest.param(parse_nudge, {"step": "tock"}, id="a step"),
        pytest.param(parse_nudge, sample("spot_interruption_warning"), id="another function's event"),
        pytest.param(parse_nudge, sample("reconcile_launch_successful") | {"detail-type": "x"}, id="a detail-type"),
        pytest.param(parse_nudge, sample("reconcile_launch_successful") | {"source": "x", "detail": 7}, id="a source"),
        pytest.param(parse_alarm, sample("reconcile_launch_successful"), id="an event, for an alarm"),
        pytest.param(parse_scale_in, {"step": "undo", "drain": {}}, id="a step of scale_in"),
        pytest.param(parse_spot, {"step": "look"}, id="a step of spot_interruption"),
        pytest.param(parse_job_queued, '{"source": "bp.backend", "detail-type": "JobDone"}', id="a body"),
    ],
)
def test_a_kind_that_is_not_known_is_no_fault(parse: Callable[[Any], Any], event: Any) -> None:
    with pytest.raises(UnknownEvent, match="nothing here knows") as unknown:
        parse(event)
    assert unknown.value.reason == "unknown_event"


def test_each_message_of_a_batch_is_what_the_backend_said() -> None:
    batch = queue_batch(sample("reconcile_job_queued"))
    assert batch is not None
    [message] = batch.messages
    assert parse_job_queued(message.body).names == {"image-to-video"}
    assert json.loads(message.body)["detail"]["stage"] == "staging"


@pytest.mark.parametrize("event", [None, {}, {"Records": []}, sample("reconcile_queue_has_jobs")])
def test_what_comes_from_no_queue_is_no_batch(event: Any) -> None:
    assert queue_batch(event) is None


def test_a_fault_never_repeats_the_event() -> None:
    with pytest.raises(BadEvent) as fault:
        parse_nudge({"step": "tick", "tick": "hunter2"})
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
