"""What a schedule says: its constant Input, and nothing of the event it replaces."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from fleet_control.errors import BadEvent
from fleet_control.messages.parse import explain


class MetricsSchedule(BaseModel):
    """`period_seconds` is the schedule's own rate. `time`, where the rule passes it on, is when the event was due."""

    model_config = ConfigDict(frozen=True, defer_build=True, extra="ignore")

    period_seconds: int = Field(ge=1, le=3600)
    time: AwareDatetime | None = None

    def due(self, now: datetime) -> datetime:
        """Naive UTC: when this look was due, or `now` (naive UTC) if the rule does not say."""
        return self.time.astimezone(UTC).replace(tzinfo=None) if self.time else now


def parse_metrics_schedule(event: Any) -> MetricsSchedule:
    """Raises BadEvent."""
    try:
        return MetricsSchedule.model_validate(event)
    except ValidationError as error:
        raise BadEvent(f"metrics schedule: {explain(error)}") from None
