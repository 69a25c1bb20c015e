"""Logs, health metrics and traces of a function, in one way for all: Powertools, built at the first invocation.

Each app.py makes one `telemetry = Telemetry("<name>")` and decorates its handler with `@telemetry.handler`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from functools import cached_property, wraps
from typing import Any, Protocol

from aws_lambda_powertools import Logger, Tracer
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit, single_metric

from fleet_control.errors import BadEvent, FleetControlError, UnknownEvent
from fleet_control.settings import environment

NAMESPACE = "FleetControl"
_TAKEN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
# Powertools would import some twenty libraries to trace what it finds. These are what a function has to call with.
_TRACED = ("botocore", "pymysql")
Handler = Callable[[dict[str, Any], Any], Any]


class Recorder(Protocol):
    """The part of Telemetry that a flow needs."""

    def decision(self, **fields: object) -> None: ...
    def failure(self, error: Exception, **fields: object) -> None: ...


class Telemetry:
    """`service` is the function's name in logs, traces and health metrics (dimensions Stage and service)."""

    def __init__(self, service: str) -> None:
        self._service = service

    @cached_property
    def logger(self) -> Logger:
        return Logger(service=self._service, utc=True, use_rfc3339=True)

    @cached_property
    def metrics(self) -> EphemeralMetrics:
        # Powertools' other kind shares its dimensions among all services of a process.
        metrics = EphemeralMetrics(service=self._service, namespace=NAMESPACE)
        metrics.set_default_dimensions(Stage=environment().get("STAGE", "unknown"))
        return metrics

    @cached_property
    def tracer(self) -> Tracer:
        return Tracer(service=self._service, patch_modules=[name for name in _TRACED if name in sys.modules])

    def count(self, name: str, value: float = 1) -> None:
        """A health metric of this invocation; sent with the others when it ends."""
        self.metrics.add_metric(name, MetricUnit.Count, value)

    def duration(self, name: str, seconds: float) -> None:
        self.metrics.add_metric(name, MetricUnit.Seconds, seconds)

    def gauge(self, name: str, unit: str, value: float, **dimensions: str) -> None:
        """A value with dimensions of its own beside the stage's (not the service's); sent at once."""
        stage = {"Stage": environment().get("STAGE", "unknown")}
        with single_metric(name, MetricUnit(unit), value, namespace=NAMESPACE, default_dimensions=stage) as metric:
            for dimension, of in dimensions.items():
                metric.add_dimension(dimension, of)

    def decision(self, **fields: object) -> None:
        """One record per decision, "do nothing" included."""
        log_decision(self.logger, **fields)

    def failure(self, error: Exception, **fields: object) -> None:
        """A change that was decided and could not be made; the next look tries again."""
        self.logger.error(
            "change failed", extra=_safe(fields) | {"error": f"{type(error).__name__}: {error}"}, exc_info=error
        )
        self.count("Errors")

    def unknown(self, event: UnknownEvent) -> dict[str, str]:
        """What was sent to us and is not for us: counted, and left alone."""
        self.count("UnknownEvents")
        log_decision(self.logger, rule="ignore", reason=str(event))
        return {"outcome": "ignored", "reason": event.reason}

    def refused(self, error: BadEvent, **fields: object) -> None:
        """One message of a batch that cannot be read; the others are none the worse."""
        self.logger.error("refused", extra=_safe(fields) | {"reason": error.reason, "error": str(error)})
        self.count("Failed")

    def handler(self, body: Handler) -> Handler:
        """Binds one invocation: correlation id, function context, trace, failure count, health metrics."""

        @wraps(body)
        def entry(event: dict[str, Any], context: Any) -> Any:
            return self._instrumented(event, context)

        def handler(event: dict[str, Any], context: Any) -> Any:
            self.logger.set_correlation_id(correlation_id(event))
            try:
                return body(event, context)
            except UnknownEvent as unknown:
                return self.unknown(unknown)
            except Exception as error:
                self._failed(error)
                raise
            finally:
                self._flush()

        self._observed = handler  # by its name in traces
        return entry

    @cached_property
    def _instrumented(self) -> Handler:
        # Responses stay out of traces and events out of logs: a custom resource's event holds a signed URL.
        traced = self.tracer.capture_lambda_handler(self._observed, capture_response=False)
        return self.logger.inject_lambda_context(traced, log_event=False, clear_state=True)

    def _failed(self, error: Exception) -> None:
        reason = error.reason if isinstance(error, FleetControlError) else type(error).__name__
        self.logger.exception("failed", extra={"reason": reason})
        self.count("Failed")

    def _flush(self) -> None:
        if self.metrics.metric_set:
            self.metrics.flush_metrics()


def log_decision(logger: Logger, **fields: object) -> None:
    """One record per decision, "do nothing" included: its inputs, rule, clamps and result."""
    logger.info("decision", extra=_safe(fields))


def _safe(fields: Mapping[str, object]) -> dict[str, object]:
    """`logging` refuses, by raising, a field named like one of its own; a record must never stop the work."""
    return {f"{name}_" if name in _TAKEN else name: value for name, value in fields.items()}


def correlation_id(event: Any) -> str | None:
    """What ties this invocation to its cause: EventBridge id, SNS message id, CloudFormation request, execution.

    None for whatever has none of them: an event is not parsed yet when this is asked.
    """
    if not isinstance(event, Mapping):
        return None
    for key in ("id", "RequestId", "execution"):
        if isinstance(event.get(key), str):
            return str(event[key])
    match event:
        case {"Records": [{"Sns": {"MessageId": str(message_id)}}, *_]}:
            return message_id or None
    return None
