"""The deployed functions themselves, called in this process, with a clock beside their SQL and their decisions."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from fleet_control.act.database import Database
from fleet_control.decide.metrics import Point
from fleet_control.flows import publish_metrics, reconcile

ROOT = Path(__file__).resolve().parent.parent
EVENTS: dict[str, dict[str, Any]] = {
    "reconcile": {"step": "tick", "tick": 0},
    "publish_metrics": {"period_seconds": 60},
}


@dataclass(frozen=True, slots=True)
class Context:
    """What Powertools reads of Lambda's context."""

    function_name: str
    memory_limit_in_mb: int = 256
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:bench"
    aws_request_id: str = "00000000-0000-0000-0000-000000000000"


class Clock:
    """Seconds and calls of a function, added up over all its calls."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.calls = 0

    def around(self, body: Callable[..., Any], keep: Callable[[Any], None] | None = None) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                result = body(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - began
                self.calls += 1
            if keep is not None:
                keep(result)
            return result

        return timed


class Product:
    """One function in its execution environment. `name` is its folder."""

    def __init__(self, name: str) -> None:
        self.sql = Clock()
        self.decide = Clock()
        self.statements = 0
        self.outcome: Any = None
        self._name = name
        self._watch()
        self._app = _load(name)

    def __call__(self) -> Any:
        """One invocation: its answer."""
        return self._app.handler(EVENTS[self._name], Context(f"bp-staging-{self._name.replace('_', '-')}"))

    def _watch(self) -> None:
        for name in ("query", "execute", "insert"):
            setattr(Database, name, self.sql.around(self._counting(getattr(Database, name))))
        # `plan` and `publication` are all there is of decide in the two flows.
        flow, name = (reconcile, "plan") if self._name == "reconcile" else (publish_metrics, "publication")
        setattr(flow, name, self.decide.around(getattr(flow, name), self._keep))

    def _counting(self, body: Callable[..., Any]) -> Callable[..., Any]:
        """By the product's own count, the set-up of the session included."""

        def counted(database: Database, *args: Any, **kwargs: Any) -> Any:
            before = database.statements
            try:
                return body(database, *args, **kwargs)
            finally:
                self.statements += database.statements - before

        return counted

    def _keep(self, outcome: Any) -> None:
        self.outcome = outcome


def decided(outcome: Any) -> dict[str, object]:
    """What was decided, comparable across the two ways: a plan's fleets, or a publication's points by name."""
    if hasattr(outcome, "points"):
        return {_key(point): round(point.value, 3) for point in outcome.points}
    return {plan.fleet: (plan.rule, plan.desired, plan.reason) for plan in outcome.fleets}


def _key(point: Point) -> str:
    return ".".join((point.name, *(value for _, value in point.dimensions)))


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_app", ROOT / "functions" / name / "app.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def environment(url: str, ca_file: Path) -> dict[str, str]:
    """What Lambda and the template tell a function, with the laboratory's server and authority."""
    return {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": f"{ROOT / 'layers/fleet_control'}:{ROOT}",
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_EC2_METADATA_DISABLED": "true",
        # A trace that is not sampled: the tracer is on, as deployed, and sends nothing.
        "LAMBDA_TASK_ROOT": str(ROOT),
        "_X_AMZN_TRACE_ID": "Root=1-6957f1c0-000000000000000000000000;Parent=0000000000000000;Sampled=0",
        "STAGE": "staging",
        "DB_SECRET_ID": "/bp/staging/rds/fleet-control",
        "CENTRAL_DB_NAME": "bp",
        "METRICS_NAMESPACE": "ComfyUI/Workers",
        "DB_CA_FILE": str(ca_file),
        "FLEET_WORKER_LIMIT": "1000000",
        "DEAD_LETTERS_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/bp-staging-failed-invocations",
        "SCALE_IN_MACHINE_ARN": "arn:aws:states:us-east-1:123456789012:stateMachine:bp-staging-scale-in",
        "POWERTOOLS_METRICS_NAMESPACE": "FleetControl",
        "LOG_LEVEL": "INFO",
    }
