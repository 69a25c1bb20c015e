"""Lambda entry: one look at the whole stage, by the clock or by a nudge."""

from dataclasses import asdict
from functools import cache
from typing import Any

from fleet_control.act.asg import AutoScaling
from fleet_control.act.aws import client
from fleet_control.act.database import open_database
from fleet_control.act.ec2 import Ec2
from fleet_control.act.jobs import Jobs
from fleet_control.act.machines import Machine
from fleet_control.act.secrets import Secrets
from fleet_control.act.workers import Workers
from fleet_control.flows.reconcile import Ports, Result, reconcile
from fleet_control.messages.alarm import AlarmNotification
from fleet_control.messages.eventbridge import GroupEvent, JobQueued
from fleet_control.messages.parse import Nudge, parse_nudge
from fleet_control.settings import ReconcileSettings, environment
from fleet_control.telemetry import Telemetry

telemetry = Telemetry("reconcile")
UNKNOWN = {GroupEvent: "UnknownGroups", AlarmNotification: "UnknownAlarms", JobQueued: "UnknownWorkflows"}


@telemetry.handler
def handler(event: dict[str, Any], context: Any) -> dict[str, object]:  # noqa: ARG001
    nudge = parse_nudge(event)
    result = reconcile(ports(), trigger=type(nudge).__name__, about=nudge.names)
    _count(result)
    _count_unknown(result, nudge)
    _gauge_launches(result)
    return asdict(result)


def _count_unknown(result: Result, nudge: Nudge) -> None:
    """Only where there is something to count: a metric that is published costs."""
    if result.unknown:
        telemetry.count(UNKNOWN.get(type(nudge), "UnknownWorkflows"), result.unknown)
    if result.unknown_workflows:
        telemetry.count("UnknownWorkflows", result.unknown_workflows)


def _gauge_launches(result: Result) -> None:
    """By fleet, whose name ends in its slug, and only while there is something to tell."""
    prefix = f"asg-{ports().stage}-"
    for fleet, seconds in result.blocked.items():
        slug = fleet.removeprefix(prefix)
        telemetry.gauge("CapacityBlockedSeconds", "Seconds", seconds, WorkflowSlug=slug)
    for fleet in result.breakers:
        telemetry.gauge("LaunchBreakerOpen", "Count", 1, WorkflowSlug=fleet.removeprefix(prefix))


def _count(result: Result) -> None:
    """Silence of the heartbeat is the alarm: it beats only when the stage was really looked at."""
    if result.outcome == "acted":
        telemetry.count("ReconcileHeartbeat")
        telemetry.count("Decisions", result.fleets)
    telemetry.count("Holds", result.held + (result.outcome == "hold"))


@cache
def ports() -> Ports:
    settings = ReconcileSettings.from_env(environment())
    database = open_database(settings, Secrets(client("secretsmanager")))
    return Ports(
        stage=settings.stage,
        worker_limit=settings.fleet_worker_limit,
        database=database,
        jobs=Jobs(database),
        workers=Workers(database),
        groups=AutoScaling(client("autoscaling"), settings.stage),
        ec2=Ec2(client("ec2"), settings.stage),
        scale_in=Machine(client("stepfunctions"), settings.scale_in_machine_arn),
        recorder=telemetry,
    )
