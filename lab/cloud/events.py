"""EventBridge's default bus: moto's own pattern matcher, delivery to functions, machines and queues, schedules."""

from __future__ import annotations

import itertools
import json
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from moto.events.models import EventTemplateParser, events_backends
from moto.sqs.models import sqs_backends
from moto.stepfunctions.responses import get_backend as machines_backend

from lab.cloud.functions import Functions
from lab.cloud.journal import Journal
from lab.cloud.names import ACCOUNT, REGION
from lab.cloud.timers import Timers

Event = dict[str, Any]


def iso(when: datetime | None = None) -> str:
    return (when or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def event(source: str, detail_type: str, detail: Mapping[str, Any], resources: Iterable[str] = ()) -> Event:
    """An event with EventBridge's envelope."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": detail_type,
        "source": source,
        "account": ACCOUNT,
        "time": iso(),
        "region": REGION,
        "resources": list(resources),
        "detail": dict(detail),
    }


class EventBus:
    """The default bus. `lock` is moto's: its backends are not safe to read while another thread changes them."""

    def __init__(self, functions: Functions, journal: Journal, lock: AbstractContextManager[Any]) -> None:
        self._functions = functions
        self._journal = journal
        self._lock = lock

    def put(self, message: Event) -> None:
        """Deliver to every enabled rule whose pattern matches."""
        with self._lock:
            for rule in list(events_backends[ACCOUNT][REGION].describe_event_bus("default").rules.values()):
                self.offer(rule, message)

    def offer(self, rule: Any, message: Event) -> None:
        """Deliver to the rule's targets if its pattern matches; a schedule has none and matches no event."""
        pattern = rule.event_pattern
        if rule.state == "ENABLED" and pattern.get_pattern() and pattern.matches_event(message):
            self.deliver(rule, message)

    def deliver(self, rule: Any, message: Event) -> None:
        for target in rule.targets:
            arn = target["Arn"]
            self._journal.write("event", rule=rule.name, target=arn, detail_type=message["detail-type"])
            self._send(arn, json.dumps(_input(target, message)), target.get("RoleArn"))

    def _send(self, arn: str, body: str, role: str | None) -> None:
        service = arn.split(":")[2]
        if service == "lambda":
            self._functions.invoke_async(arn, body.encode())
        elif service == "states":
            about = {"service": "states", "operation": "StartExecution", "role": role}
            self._journal.write("service_call", **about, request={"stateMachineArn": arn})
            machines_backend(ACCOUNT, REGION).start_execution(arn, str(uuid.uuid4()), body)
        elif service == "sqs":
            sqs_backends[ACCOUNT][REGION].send_message(arn.rsplit(":", 1)[-1], body)
        else:
            raise NotImplementedError(f"no delivery to targets like {arn}")


def _input(target: Mapping[str, Any], message: Event) -> Any:
    """What the target receives: its constant, its transformed input, or the event as it is."""
    if "Input" in target:
        return json.loads(target["Input"])
    if transformer := target.get("InputTransformer"):
        paths = transformer.get("InputPathsMap", {})
        return EventTemplateParser.parse(transformer["InputTemplate"], paths, {"ingestion-time": iso(), **message})
    return message


RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
UNIT_SECONDS = {"minute": 60.0, "hour": 3600.0, "day": 86400.0}


def rate_seconds(expression: str) -> float | None:
    """Seconds of a `rate(...)` expression; None for others (cron), which the lab does not run."""
    match = RATE.fullmatch(expression)
    return int(match[1]) * UNIT_SECONDS[match[2]] if match else None


def _firing(bus: EventBus, rule: Any, seconds: float) -> Callable[[], None]:
    """Each call tells its own due time, however late it comes: as AWS does."""
    due = itertools.count(time.time(), seconds)

    def fire() -> None:
        when = iso(datetime.fromtimestamp(next(due), UTC))
        bus.deliver(rule, event("aws.events", "Scheduled Event", {}, [rule.arn]) | {"time": when})

    return fire


def start_schedules(bus: EventBus, timers: Timers, pace: Mapping[str, float]) -> dict[str, float]:
    """Start every enabled rate schedule; answers rule name → real seconds between two firings.

    `pace` overrides the seconds of the rules whose name contains the key. The first firing is at once.
    """
    started: dict[str, float] = {}
    for rule in list(events_backends[ACCOUNT][REGION].describe_event_bus("default").rules.values()):
        seconds = rate_seconds(rule.scheduled_expression or "")
        if rule.state != "ENABLED" or seconds is None:
            continue
        seconds = next((value for part, value in pace.items() if part in rule.name), seconds)
        timers.every(seconds, _firing(bus, rule, seconds))
        started[rule.name] = seconds
    return started
