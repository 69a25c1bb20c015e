"""From a raw event to a typed message: the unknown and the malformed are told apart from the known."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from fleet_control.errors import BadEvent
from fleet_control.messages.alarm import AlarmNotification
from fleet_control.messages.eventbridge import (
    GroupEvent,
    ImageChange,
    InstanceStateChange,
    InterruptionWarning,
    JobQueued,
)
from fleet_control.messages.tasks import AmiSurvey, InterruptionTask, RolloutTask, ScaleInTask, Tick

T = TypeVar("T")

KIND = frozenset({"step", "Records", "source", "detail-type"})
"""The fields by which messages are told apart."""

Nudge = Tick | AlarmNotification | JobQueued | GroupEvent
SpotMessage = InterruptionTask | InterruptionWarning | InstanceStateChange
RolloutMessage = RolloutTask | AmiSurvey | ImageChange


def parse_nudge(event: Any) -> Nudge:
    """What makes `reconcile` look now. Raises BadEvent."""
    return _parse(TypeAdapter(Nudge), event)


def parse_alarm(event: Any) -> AlarmNotification:
    """Raises BadEvent."""
    return _parse(TypeAdapter(AlarmNotification), event)


def parse_scale_in(event: Any) -> ScaleInTask:
    """Raises BadEvent."""
    return _parse(TypeAdapter(ScaleInTask), event)


def parse_spot(event: Any) -> SpotMessage:
    """A notice from EventBridge, or the machine's next look. Raises BadEvent."""
    return _parse(TypeAdapter(SpotMessage), event)


def parse_rollout(event: Any) -> RolloutMessage:
    """A new image, the schedule, or the machine's next look. Raises BadEvent."""
    return _parse(TypeAdapter(RolloutMessage), event)


def _parse(adapter: TypeAdapter[T], event: Any) -> T:
    try:
        return adapter.validate_python(event)
    except ValidationError as error:
        # Not chained: pydantic's text would carry the event into the log.
        raise BadEvent(explain(error)) from None


def explain(error: ValidationError) -> str:
    """Where and why, without the event itself: it may carry what no log should."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'event'}: {e['msg']}" for e in _of_its_kind(found)[:5])


def _of_its_kind(found: list[ErrorDetails]) -> list[ErrorDetails]:
    """Of a union every member complains. Only those count that the event's own kind does not rule out, if any."""
    ruled_out = {fault["loc"][0] for fault in found if len(fault["loc"]) == 2 and fault["loc"][1] in KIND}
    return [fault for fault in found if not fault["loc"] or fault["loc"][0] not in ruled_out] or found
