"""What makes `reconcile` look now: the unknown and the malformed are told apart from the known."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import TypeAdapter
from pydantic_core import from_json

from fleet_control.errors import BadEvent
from fleet_control.messages.alarm import AlarmNotification
from fleet_control.messages.eventbridge import GroupEvent, JobQueued
from fleet_control.messages.parse import parse
from fleet_control.messages.tasks import Tick

Nudge = Tick | AlarmNotification | GroupEvent


def parse_nudge(event: Any) -> Nudge:
    """Raises BadEvent, UnknownEvent."""
    return parse(TypeAdapter(Nudge), get_args(Nudge), event)


def parse_job_queued(body: str) -> JobQueued:
    """What the backend said, as it lay in the queue. Raises BadEvent, UnknownEvent."""
    try:
        event = from_json(body)  # the standard library's overflows the stack on nested brackets
    except ValueError:
        raise BadEvent("body: Invalid JSON") from None
    return parse(TypeAdapter(JobQueued), (JobQueued,), event)
