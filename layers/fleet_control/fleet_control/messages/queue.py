"""A batch of messages that Lambda took from a queue. Each is parsed by itself, so that a bad one spoils no other."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True, extra="ignore", populate_by_name=True)


class QueueMessage(_Model):
    source: Literal["aws:sqs"] = Field(alias="eventSource")
    message_id: str = Field(alias="messageId")
    body: str


class QueueBatch(_Model):
    messages: tuple[QueueMessage, ...] = Field(alias="Records", min_length=1)


def queue_batch(event: Any) -> QueueBatch | None:
    """Messages of a queue, each still to be parsed; None for anything else."""
    try:
        return QueueBatch.model_validate(event)
    except ValidationError:
        return None
