"""A CloudWatch alarm as SNS delivers it to Lambda: the alarm's JSON inside the record's Message."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Json, TypeAdapter

from fleet_control.messages.parse import parse


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True, extra="ignore", populate_by_name=True)


class Dimension(_Model):
    """CloudWatch writes these two keys in lower case in a notification, unlike anywhere else."""

    name: str
    value: str


class Trigger(_Model):
    metric: str = Field(default="", alias="MetricName")
    dimensions: tuple[Dimension, ...] = Field(default=(), alias="Dimensions")


class Alarm(_Model):
    name: str = Field(alias="AlarmName")
    state: Literal["OK", "ALARM", "INSUFFICIENT_DATA"] = Field(alias="NewStateValue")
    reason: str = Field(default="", alias="NewStateReason")
    trigger: Trigger = Field(alias="Trigger")

    def dimension(self, name: str) -> str | None:
        """Value of a dimension, None when the alarm has none of that name."""
        return next((d.value for d in self.trigger.dimensions if d.name == name), None)


class Sns(_Model):
    message_id: str = Field(alias="MessageId")
    topic_arn: str = Field(default="", alias="TopicArn")
    alarm: Json[Alarm] = Field(alias="Message")


class SnsRecord(_Model):
    source: Literal["aws:sns"] = Field(alias="EventSource")
    sns: Sns = Field(alias="Sns")


class AlarmNotification(_Model):
    """Lambda gets exactly one record a delivery from SNS."""

    records: tuple[SnsRecord, ...] = Field(alias="Records", min_length=1)

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        return tuple(record.sns.alarm for record in self.records)

    @property
    def names(self) -> frozenset[str]:
        """The workflows they are about; an alarm that says none stands for itself."""
        return frozenset(alarm.dimension("WorkflowSlug") or alarm.name for alarm in self.alarms)


def parse_alarm(event: Any) -> AlarmNotification:
    """Raises BadEvent, UnknownEvent."""
    return parse(TypeAdapter(AlarmNotification), (AlarmNotification,), event)
