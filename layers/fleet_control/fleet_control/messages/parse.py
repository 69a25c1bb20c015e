"""From a raw event to a typed message: the unknown and the malformed are told apart from the known."""

from __future__ import annotations

from typing import Any, TypeVar, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

from fleet_control.errors import BadEvent, UnknownEvent
from fleet_control.messages.alarm import AlarmNotification
from fleet_control.messages.eventbridge import (
    GroupEvent,
    InstanceStateChange,
    InterruptionWarning,
    JobQueued,
    RebalanceRecommendation,
    TerminateAction,
)
from fleet_control.messages.queue import QueueBatch
from fleet_control.messages.tasks import InterruptionTask, ScaleInTask, Tick

T = TypeVar("T")

KIND = frozenset({"step", "Records", "source", "detail-type"})
"""The fields by which messages are told apart."""

Nudge = Tick | AlarmNotification | GroupEvent
SpotNotice = InterruptionWarning | RebalanceRecommendation | TerminateAction | InstanceStateChange
SpotMessage = InterruptionTask | SpotNotice


def parse_nudge(event: Any) -> Nudge:
    """What makes `reconcile` look now. Raises BadEvent, UnknownEvent."""
    return _parse(TypeAdapter(Nudge), get_args(Nudge), event)


def parse_job_queued(body: str) -> JobQueued:
    """What the backend said, as it lay in the queue. Raises BadEvent, UnknownEvent."""
    try:
        event = from_json(body)  # the standard library's overflows the stack on nested brackets
    except ValueError:
        raise BadEvent("body: Invalid JSON") from None
    return _parse(TypeAdapter(JobQueued), (JobQueued,), event)


def queue_batch(event: Any) -> QueueBatch | None:
    """Messages of a queue, each still to be parsed; None for anything else."""
    try:
        return QueueBatch.model_validate(event)
    except ValidationError:
        return None


def parse_alarm(event: Any) -> AlarmNotification:
    """Raises BadEvent, UnknownEvent."""
    return _parse(TypeAdapter(AlarmNotification), (AlarmNotification,), event)


def parse_scale_in(event: Any) -> ScaleInTask:
    """Raises BadEvent, UnknownEvent."""
    return _parse(TypeAdapter(ScaleInTask), (ScaleInTask,), event)


def parse_spot(event: Any) -> SpotMessage:
    """A notice from EventBridge, or the machine's next look. Raises BadEvent, UnknownEvent."""
    return _parse(TypeAdapter(SpotMessage), get_args(SpotMessage), event)


def _parse(adapter: TypeAdapter[T], kinds: tuple[type[BaseModel], ...], event: Any) -> T:
    try:
        return adapter.validate_python(event)
    except ValidationError as error:
        # Not chained: pydantic's text would carry the event into the log.
        if _says_a_kind(event) and not any(_is_of(model, event) for model in kinds):
            raise UnknownEvent("nothing here knows this step, or this source and detail-type") from None
        raise BadEvent(explain(error)) from None


def _says_a_kind(event: Any) -> bool:
    if not isinstance(event, dict):
        return False
    return isinstance(event.get("step"), str) or all(isinstance(event.get(k), str) for k in ("source", "detail-type"))


def _is_of(model: type[BaseModel], event: dict[str, Any]) -> bool:
    """Whether the event has the values by which this model is told apart."""
    told = {field.alias or name: get_args(field.annotation) for name, field in model.model_fields.items()}
    return all(
        event.get(name) in values if name != "Records" else name in event
        for name, values in told.items()
        if name in KIND
    )


def explain(error: ValidationError) -> str:
    """Where and why, without the event itself: it may carry what no log should."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'event'}: {e['msg']}" for e in _of_its_kind(found)[:5])


def _of_its_kind(found: list[ErrorDetails]) -> list[ErrorDetails]:
    """Of a union every member complains. Only those count that the event's own kind does not rule out, if any."""
    ruled_out = {fault["loc"][0] for fault in found if len(fault["loc"]) == 2 and fault["loc"][1] in KIND}
    return [fault for fault in found if not fault["loc"] or fault["loc"][0] not in ruled_out] or found
