"""CloudWatch alarms: evaluates moto's stored metrics and publishes the notification on each transition."""

from __future__ import annotations

import json
import operator
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends
from moto.sns.models import sns_backends

from lab.cloud.journal import Journal
from lab.cloud.names import ACCOUNT, REGION

OK, ALARM, MISSING = "OK", "ALARM", "INSUFFICIENT_DATA"

SPARE_PERIODS = 5
"""CloudWatch looks a little further back than it must, and skips periods without data there."""

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "Maximum": max,
    "Minimum": min,
    "Sum": sum,
    "SampleCount": len,
    "Average": lambda values: sum(values) / len(values),
}


def judge(breaches: list[bool | None], periods: int, to_alarm: int, missing: str, state: str) -> str:
    """The state that follows from the evaluation range.

    `breaches` has one item a period, oldest first: does it breach, None without data. The newest `periods` real data
    points decide when there are so many. With fewer, `missing` (breaching, notBreaching, ignore, missing) speaks for
    the absent ones; `missing` keeps the present state as long as there is any data at all.
    """
    real = [breach for breach in breaches if breach is not None][-periods:]
    if len(real) < periods:
        if missing == "ignore" or (missing == "missing" and real):
            return state
        if missing == "missing":
            return MISSING
        real += [missing == "breaching"] * (periods - len(real))
    return ALARM if sum(real) >= to_alarm else OK


class AlarmEvaluator:
    """Evaluates every metric alarm. `minute` is how many real seconds stand for an alarm's sixty."""

    def __init__(self, journal: Journal, lock: AbstractContextManager[Any], minute: float = 60.0) -> None:
        self._journal, self._lock = journal, lock
        self.minute = minute

    def start(self) -> None:
        """Put every alarm in the state a new one has on AWS."""
        with self._lock:
            for alarm in cloudwatch_backends[ACCOUNT][REGION].alarms.values():
                alarm.update_state("Unchecked: Initial alarm creation", "", MISSING)

    def evaluate(self, now: float | None = None) -> None:
        """Look at every alarm once; `now` is unix seconds."""
        with self._lock:
            for alarm in list(cloudwatch_backends[ACCOUNT][REGION].alarms.values()):
                if alarm.metric_name:
                    self._evaluate(alarm, now or time.time())

    def _evaluate(self, alarm: Any, now: float) -> None:
        values = self._periods(alarm, now)
        compare = COMPARISONS[alarm.comparison_operator]
        breaches = [None if value is None else compare(value, float(alarm.threshold)) for value in values]
        periods = int(alarm.evaluation_periods)
        to_alarm = int(alarm.datapoints_to_alarm or periods)
        state = judge(breaches, periods, to_alarm, alarm.treat_missing_data or "missing", alarm.state_value)
        if state != alarm.state_value:
            self._change(alarm, state, [value for value in values if value is not None][-periods:])

    def _periods(self, alarm: Any, now: float) -> list[float | None]:
        """The statistic of each period in the evaluation range, oldest first; None without data."""
        length = float(alarm.period) * self.minute / 60
        count = int(alarm.evaluation_periods) + SPARE_PERIODS
        buckets: list[list[float]] = [[] for _ in range(count)]
        for when, value in _datapoints(alarm):
            age = int((now - when) // length)
            if 0 <= age < count:
                buckets[count - 1 - age].append(value)
        statistic = STATISTICS[alarm.statistic]
        return [float(statistic(bucket)) if bucket else None for bucket in buckets]

    def _change(self, alarm: Any, state: str, values: list[float]) -> None:
        old = alarm.state_value
        reason = f"Threshold Crossed: datapoints {values} against the threshold ({alarm.threshold})."
        if state == MISSING:
            reason = "Insufficient Data: no datapoints were received."
        alarm.update_state(reason, "{}", state)
        self._journal.write("alarm", **{"name": alarm.name, "from": old, "to": state, "reason": reason})
        actions = {OK: alarm.ok_actions, ALARM: alarm.alarm_actions, MISSING: alarm.insufficient_data_actions}[state]
        if alarm.actions_enabled:
            for arn in actions or []:
                self._publish(arn, alarm, old)

    def _publish(self, arn: str, alarm: Any, old: str) -> None:
        subject = f'{alarm.state_value}: "{alarm.name}" in US East (N. Virginia)'
        body = json.dumps(notification(alarm, old))
        sns_backends[ACCOUNT][REGION].publish(body, arn=arn, subject=subject[:100])


def _datapoints(alarm: Any) -> list[tuple[float, float]]:
    wanted = sorted((dimension.name, dimension.value) for dimension in alarm.dimensions)
    found = []
    for datum in cloudwatch_backends[ACCOUNT][REGION].metric_data:
        if datum.name == alarm.metric_name and datum.namespace == alarm.namespace:
            has = sorted((dimension.name, dimension.value) for dimension in datum.dimensions)
            if has == wanted:
                found.append((_utc(datum.timestamp).timestamp(), float(datum.value)))
    return found


def _utc(when: datetime) -> datetime:
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def notification(alarm: Any, old: str) -> dict[str, Any]:
    """The JSON body CloudWatch publishes to a topic."""
    return {
        "AlarmName": alarm.name,
        "AlarmDescription": alarm.description,
        "AWSAccountId": ACCOUNT,
        "AlarmConfigurationUpdatedTimestamp": _stamp(alarm.configuration_updated_timestamp),
        "NewStateValue": alarm.state_value,
        "NewStateReason": alarm.state_reason,
        "StateChangeTime": _stamp(datetime.now(UTC)),
        "Region": "US East (N. Virginia)",
        "AlarmArn": alarm.alarm_arn,
        "OldStateValue": old,
        "OKActions": alarm.ok_actions or [],
        "AlarmActions": alarm.alarm_actions or [],
        "InsufficientDataActions": alarm.insufficient_data_actions or [],
        "Trigger": {
            "MetricName": alarm.metric_name,
            "Namespace": alarm.namespace,
            "StatisticType": "Statistic",
            "Statistic": str(alarm.statistic).upper(),
            "Unit": None,
            "Dimensions": [{"value": d.value, "name": d.name} for d in alarm.dimensions],
            "Period": int(alarm.period),
            "EvaluationPeriods": int(alarm.evaluation_periods),
            "DatapointsToAlarm": int(alarm.datapoints_to_alarm or alarm.evaluation_periods),
            "ComparisonOperator": alarm.comparison_operator,
            "Threshold": float(alarm.threshold),
            "TreatMissingData": alarm.treat_missing_data or "missing",
            "EvaluateLowSampleCountPercentile": "",
        },
    }


def _stamp(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.000+0000")
