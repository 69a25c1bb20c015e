"""What the control plane costs a month, from measured durations and the template's own schedules and sizes.

Prices are the published ones of us-east-1 without any free tier; docs/benchmarks.md names their pages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.executions import Execution, executions
from bench.product import ROOT
from lab.render import parameter_values, render

MINUTES = 43_800
"""Of a month: 730 hours."""
DAYS = 365 / 12

LAMBDA_GB_SECOND = {"arm64": 0.0000133334, "x86_64": 0.0000166667}
LAMBDA_REQUEST = 0.20 / 1e6
EXPRESS_GB_SECOND = 0.00001667
EXPRESS_REQUEST = 1.00 / 1e6
EXPRESS_GB = 64 / 1024
STANDARD_TRANSITION = 0.025 / 1000
CUSTOM_EVENT = 1.00 / 1e6
QUEUE_REQUEST = 0.40 / 1e6
LOG_GB = 0.50
TRACE = 5.00 / 1e6
CUSTOM_METRIC = 0.30
ALARM = 0.10
SECRET = 0.40
KEY = 1.00

FULL_CPU_MB = 1769
"""Lambda gives one vCPU at this size, and a share of it below."""

AWS_CALL_SECONDS = 0.06
STATEMENT_SECONDS = 0.002
"""Assumed round trips from a function in the VPC; the benchmark's are on one machine."""

POLLERS, POLL_SECONDS = 5, 20
"""Lambda asks a queue all day, five long polls at a time. With a maximum concurrency it does not go down to two."""

QUEUE_REQUESTS_A_NUDGE = 3
"""Sent, received, deleted; batches, of which a quiet stage has few, make it less."""

PLATFORM_LOG_BYTES = 400
"""INIT, START, END and REPORT lines of an invocation."""

JOBS_A_DAY = 500
A_DAY = {"scale_in_idle": 50, "scale_in_replaced": 10, "warning": 10, "hook_of_a_warning": 10}
"""Executions of Standard machines. Of 70 instances that end in a day Spot takes 10, and 10 go because Spot may."""
NOTICES_A_DAY = 3 * 70 + 10 + 10
"""Of each end the hook's event, shutting-down and terminated; warnings; recommendations. Each is one invocation."""

STAGE_METRICS, WORKFLOW_METRICS, HEALTH_METRICS = 3, 10, 7
"""By stage and by workflow, as `publish_metrics` sends them, and what the functions count of themselves on a common
day."""

REQUIRED = {
    "ApiBaseUrl": "https://api.example.com",
}
"""The template's parameters without a default; none of them changes a cost."""


@dataclass(frozen=True, slots=True)
class Plant:
    """What the rendered template says about money."""

    memory_mb: int
    architecture: str
    ticks_a_minute: int
    tick_seconds: int
    alarms: int
    workflows: int
    polled_queues: int
    gauges: int
    executions: Mapping[str, Execution]


def plant() -> Plant:
    """Read from template.yaml with its defaults, nested stacks included, the state machines and the functions."""
    path = ROOT / "template.yaml"
    template = render(path, REQUIRED)
    values = parameter_values(_source(path), REQUIRED)
    function = template["Resources"]["ReconcileFunction"]["Properties"]
    seconds = int(values["TickSeconds"])
    return Plant(
        memory_mb=int(function["MemorySize"]),
        architecture=values["Architecture"],
        ticks_a_minute=int(template["Mappings"]["Ticks"]["PerMinute"][str(seconds)]),
        tick_seconds=seconds,
        alarms=_count(template, "AWS::CloudWatch::Alarm"),
        polled_queues=_count(template, "AWS::Lambda::EventSourceMapping"),
        workflows=len(values["WorkflowSlugs"].split(",")),
        gauges=gauges(),
        executions=executions(),
    )


def monthly(tick: Mapping[str, Any], publish: Mapping[str, Any], of: Plant) -> dict[str, Any]:
    """USD by item. `tick` and `publish` are measured at the size that is deployed (`warm` figures of a probe)."""
    ticks, minutes = MINUTES * of.ticks_a_minute, MINUTES
    tick_s, publish_s = billed_seconds(tick, of.memory_mb), billed_seconds(publish, of.memory_mb)
    # scale_in and spot_interruption make few calls; each is taken to last as long as a tick, and to cost as much; so is
    # the survey of images each minute as a publication. It is not traced.
    started = sum(A_DAY.values()) * DAYS
    transitions = sum(A_DAY[name] * one.transitions for name, one in of.executions.items()) * DAYS
    called = (sum(A_DAY[name] * one.tasks for name, one in of.executions.items()) + NOTICES_A_DAY) * DAYS
    nudges = JOBS_A_DAY * DAYS
    reconciles = ticks + nudges + called
    gb_seconds = (reconciles * tick_s + 2 * minutes * publish_s) * of.memory_mb / 1024
    minute_s = (of.ticks_a_minute - 1) * of.tick_seconds + of.ticks_a_minute * tick_s
    log_bytes = reconciles * (tick["log_bytes"] + PLATFORM_LOG_BYTES)
    log_bytes += minutes * (publish["log_bytes"] + 2 * PLATFORM_LOG_BYTES)
    items = {
        "lambda_compute": gb_seconds * LAMBDA_GB_SECOND[of.architecture],
        "lambda_requests": (reconciles + 2 * minutes) * LAMBDA_REQUEST,
        "fleet_cycle_express": minutes * (minute_s * EXPRESS_GB * EXPRESS_GB_SECOND + EXPRESS_REQUEST),
        "standard_machines": transitions * STANDARD_TRANSITION,
        "custom_events": nudges * CUSTOM_EVENT,
        "nudge_queue": (of.polled_queues * polls() + nudges * QUEUE_REQUESTS_A_NUDGE) * QUEUE_REQUEST,
        "logs": log_bytes / 1e9 * LOG_GB,
        "traces": (2 * minutes + nudges + started + NOTICES_A_DAY * DAYS) * TRACE,
    }
    return {
        "total": round(sum(items.values()), 2),
        "items": {name: round(usd, 2) for name, usd in items.items()},
        "apart": {name: round(usd, 2) for name, usd in apart(of).items()},
        "billed_tick_s": round(tick_s, 3),
        "billed_publish_s": round(publish_s, 3),
    }


def apart(of: Plant) -> dict[str, float]:
    """What stands whether the loop runs or not."""
    metrics = (WORKFLOW_METRICS + of.gauges) * of.workflows + STAGE_METRICS + HEALTH_METRICS
    return {"custom_metrics": metrics * CUSTOM_METRIC, "alarms": of.alarms * ALARM, "secret": SECRET, "key": KEY}


def billed_seconds(measured: Mapping[str, Any], memory_mb: int) -> float:
    """CPU time at the size's share of a core, plus the waits that a network adds."""
    share = min(1.0, memory_mb / FULL_CPU_MB)
    waits = measured["aws_calls"] * AWS_CALL_SECONDS + measured["warm_statements"] * STATEMENT_SECONDS
    return float(measured["cpu_s"] / share + waits)


def polls() -> int:
    """ReceiveMessage requests a month for one queue in which nothing lies."""
    return MINUTES * 60 // POLL_SECONDS * POLLERS


def gauges() -> int:
    """Metrics by workflow that functions send beside the contract's; billed for the hours in which they are sent."""
    sources = (path.read_text() for path in (ROOT / "functions").glob("*/app.py"))
    return len({name for source in sources for name in re.findall(r'telemetry\.gauge\("(\w+)"', source)})


def _count(template: Mapping[str, Any], kind: str) -> int:
    """Resources of a kind, in nested stacks too."""
    found: int = 0
    for resource in template["Resources"].values():
        found += resource["Type"] == kind
        nested = resource.get("Metadata", {}).get("Template")
        found += _count(nested, kind) if nested else 0
    return found


def _source(path: Any) -> dict[str, Any]:
    from samcli.yamlhelper import yaml_parse  # noqa: PLC0415 - a second of imports that only this needs

    parsed: dict[str, Any] = yaml_parse(path.read_text())
    return parsed
