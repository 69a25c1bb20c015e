"""Lambda entry: the `queue-empty` alarm of a workflow, by SNS."""

from functools import cache
from typing import Any

from fleet_control.act.asg import AutoScaling
from fleet_control.act.aws import client, later
from fleet_control.act.database import open_database
from fleet_control.act.jobs import Jobs
from fleet_control.act.machines import Machine
from fleet_control.act.secrets import Secrets
from fleet_control.act.workers import Workers
from fleet_control.flows.scale_to_zero import Ports, scale_to_zero
from fleet_control.messages.alarm import Alarm, parse_alarm
from fleet_control.settings import ScaleToZeroSettings, environment
from fleet_control.telemetry import Telemetry

telemetry = Telemetry("scale_to_zero")


@telemetry.handler
def handler(event: dict[str, Any], context: Any) -> list[dict[str, object]]:  # noqa: ARG001
    return [_answer(alarm) for alarm in parse_alarm(event).alarms]


def _answer(alarm: Alarm) -> dict[str, object]:
    answer = scale_to_zero(ports(), alarm)
    if answer["outcome"] == "ignored" and alarm.state == "ALARM":
        telemetry.count("UnknownAlarms")
    return answer


@cache
def ports() -> Ports:
    settings = ScaleToZeroSettings.from_env(environment())
    database = open_database(settings, Secrets(client("secretsmanager")))
    return Ports(
        stage=settings.stage,
        jobs=Jobs(database),
        workers=Workers(database),
        groups=AutoScaling(client("autoscaling"), settings.stage),
        scale_in=Machine(later("stepfunctions"), settings.scale_in_machine_arn),
        recorder=telemetry,
    )
