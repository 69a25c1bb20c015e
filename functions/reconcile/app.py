"""Lambda entry: one look at the whole stage, by the clock or by a nudge."""

from dataclasses import asdict
from functools import cache
from typing import Any

from fleet_control.act.asg import AutoScaling
from fleet_control.act.aws import client, later
from fleet_control.act.database import open_database
from fleet_control.act.ec2 import Ec2
from fleet_control.act.jobs import Jobs
from fleet_control.act.letters import DeadLetters
from fleet_control.act.machines import Machine
from fleet_control.act.secrets import Secrets
from fleet_control.act.workers import Workers
from fleet_control.errors import BadEvent, NotKept, UnknownEvent
from fleet_control.flows.reconcile import Ports, Result, reconcile
from fleet_control.messages.alarm import AlarmNotification
from fleet_control.messages.eventbridge import GroupEvent, JobQueued
from fleet_control.messages.nudge import parse_job_queued, parse_nudge
from fleet_control.messages.queue import QueueBatch, QueueMessage, queue_batch
from fleet_control.settings import ReconcileSettings, environment
from fleet_control.telemetry import Telemetry

telemetry = Telemetry("reconcile")
UNKNOWN: dict[type, str] = {
    GroupEvent: "UnknownGroups",
    AlarmNotification: "UnknownAlarms",
    JobQueued: "UnknownWorkflows",
}


@telemetry.handler
def handler(event: dict[str, Any], context: Any) -> dict[str, object]:
    if batch := queue_batch(event):
        return _jobs_queued(batch, context)
    nudge = parse_nudge(event)
    return asdict(_look(type(nudge), nudge.names))


def _jobs_queued(batch: QueueBatch, context: Any) -> dict[str, object]:
    """One look for all of them. A message that cannot be read is kept with its reason, and is done with."""
    slugs: set[str] = set()
    given_back: list[str] = []
    for message in batch.messages:
        try:
            slugs |= parse_job_queued(message.body).names
        except UnknownEvent as unknown:
            telemetry.unknown(unknown)
        except BadEvent as why:
            telemetry.refused(why, message_id=message.message_id)
            if not _kept(message, why, context):
                given_back.append(message.message_id)
    if slugs:
        _look(JobQueued, frozenset(slugs))
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in given_back]}


def _kept(message: QueueMessage, why: BadEvent, context: Any) -> bool:
    try:
        letters().keep(message.body, why, function_arn=context.invoked_function_arn, request_id=context.aws_request_id)
    except NotKept as error:
        # It comes again; after its last receipt its own queue keeps it, without the reason, which the log has.
        telemetry.failure(error, message_id=message.message_id)
        return False
    return True


def _look(kind: type, about: frozenset[str]) -> Result:
    result = reconcile(ports(), trigger=kind.__name__, about=about)
    _count(result)
    _count_unknown(result, kind)
    _gauge_launches(result)
    return result


def _count_unknown(result: Result, kind: type) -> None:
    """Only where there is something to count: a metric that is published costs."""
    if result.unknown:
        telemetry.count(UNKNOWN.get(kind, "UnknownWorkflows"), result.unknown)
    if result.unknown_workflows:
        telemetry.count("UnknownWorkflows", result.unknown_workflows)
    if result.unknown_tags:
        telemetry.count("UnknownTags", result.unknown_tags)


def _gauge_launches(result: Result) -> None:
    """By fleet, whose name ends in its slug, and only while there is something to tell."""
    for fleet, seconds in result.blocked.items():
        telemetry.gauge("CapacityBlockedSeconds", "Seconds", seconds, WorkflowSlug=_slug(fleet))
    for fleet in result.breakers:
        telemetry.gauge("LaunchBreakerOpen", "Count", 1, WorkflowSlug=_slug(fleet))


def _slug(fleet: str) -> str:
    return fleet.removeprefix(f"asg-{ports().stage}-")


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
        scale_in=Machine(later("stepfunctions"), settings.scale_in_machine_arn),
        recorder=telemetry,
    )


@cache
def letters() -> DeadLetters:
    """Apart from the ports: a client of SQS is made only where something cannot be read."""
    return DeadLetters(client("sqs"), ReconcileSettings.from_env(environment()).dead_letters_url)
