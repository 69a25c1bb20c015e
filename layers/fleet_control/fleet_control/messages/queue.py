"""A batch of messages that Lambda took from a queue. Each is parsed by itself, so that a bad one spoils no other."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class QueueMessage(_Model):
    source: Literal["aws:sqs"] = Field(alias="eventSource")
    message_id: str = Field(alias="messageId")
    body: str


class QueueBatch(_Model):
    messages: tuple[QueueMessage, ...] = Field(alias="Records", min_length=1)
