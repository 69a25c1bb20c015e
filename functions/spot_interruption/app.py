"""Lambda entry: a notice about an instance from EventBridge, or a step of the `spot_interruption` machine."""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from fleet_control.act.asg import AutoScaling
from fleet_control.act.aws import client, later
from fleet_control.act.database import open_database
from fleet_control.act.ec2 import Ec2
from fleet_control.act.jobs import Jobs
from fleet_control.act.machines import Machine
from fleet_control.act.secrets import Secrets
from fleet_control.act.workers import Workers
from fleet_control.flows.notices import receive
from fleet_control.flows.spot import Ports
from fleet_control.flows.spot_interruption import respond
from fleet_control.messages.spot import parse_spot
from fleet_control.messages.tasks import InterruptionTask
from fleet_control.settings import SpotInterruptionSettings, environment
from fleet_control.telemetry import Telemetry

telemetry = Telemetry("spot_interruption")


@telemetry.handler
def handler(event: dict[str, Any], context: Any) -> dict[str, object]:  # noqa: ARG001
    message = parse_spot(event)
    if isinstance(message, InterruptionTask):
        return _measured(message.started, respond(ports(), message))
    answer = receive(ports(), message)
    if answer["outcome"] == "ignored":
        telemetry.count("UnknownInstances")
    return _measured(message.time, answer)


def _measured(since: datetime | None, answer: dict[str, object]) -> dict[str, object]:
    """How long after the notice its jobs were given back, by its machine or at once."""
    if answer.get("requeued") and since is not None:
        telemetry.duration("RequeueSeconds", max(0.0, (datetime.now(UTC) - since.astimezone(UTC)).total_seconds()))
    return answer


@cache
def ports() -> Ports:
    settings = SpotInterruptionSettings.from_env(environment())
    database = open_database(settings, Secrets(client("secretsmanager")))
    return Ports(
        jobs=Jobs(database),
        workers=Workers(database),
        groups=AutoScaling(client("autoscaling"), settings.stage),
        ec2=Ec2(client("ec2"), settings.stage),
        machine=Machine(later("stepfunctions"), settings.spot_interruption_machine_arn),
        recorder=telemetry,
    )
