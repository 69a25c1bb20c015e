"""What `spot_interruption` is told: a notice from EventBridge, or its machine's next look."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import TypeAdapter

from fleet_control.messages.eventbridge import (
    InstanceStateChange,
    InterruptionWarning,
    RebalanceRecommendation,
    TerminateAction,
)
from fleet_control.messages.parse import parse
from fleet_control.messages.tasks import InterruptionTask

SpotNotice = InterruptionWarning | RebalanceRecommendation | TerminateAction | InstanceStateChange
SpotMessage = InterruptionTask | SpotNotice


def parse_spot(event: Any) -> SpotMessage:
    """Raises BadEvent, UnknownEvent."""
    return parse(TypeAdapter(SpotMessage), get_args(SpotMessage), event)
