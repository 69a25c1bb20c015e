"""What `ami_rollout` is told: a new image, the schedule, or its machine's next look."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import TypeAdapter

from fleet_control.messages.eventbridge import ImageChange
from fleet_control.messages.parse import parse
from fleet_control.messages.tasks import AmiSurvey, RolloutTask

RolloutMessage = RolloutTask | AmiSurvey | ImageChange


def parse_rollout(event: Any) -> RolloutMessage:
    """Raises BadEvent, UnknownEvent."""
    return parse(TypeAdapter(RolloutMessage), get_args(RolloutMessage), event)
