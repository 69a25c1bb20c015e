"""Lambda entry: a new machine image, the schedule that finds lost ones, or a step of the `ami_rollout` machine."""

from functools import cache
from typing import Any

from fleet_control.act.asg import AutoScaling
from fleet_control.act.aws import client
from fleet_control.act.database import open_database
from fleet_control.act.images import Images
from fleet_control.act.jobs import Jobs
from fleet_control.act.machines import Machine
from fleet_control.act.secrets import Secrets
from fleet_control.act.workers import Workers
from fleet_control.flows.ami_rollout import Ports, look, receive, survey
from fleet_control.messages.eventbridge import ImageChange
from fleet_control.messages.rollout import parse_rollout
from fleet_control.messages.tasks import RolloutTask
from fleet_control.settings import AmiRolloutSettings, environment
from fleet_control.telemetry import Telemetry

telemetry = Telemetry("ami_rollout")


@telemetry.handler
def handler(event: dict[str, Any], context: Any) -> dict[str, object]:  # noqa: ARG001
    message = parse_rollout(event)
    if isinstance(message, RolloutTask):
        return look(ports(), message)
    if not isinstance(message, ImageChange):
        return survey(ports())
    answer = receive(ports(), message)
    if answer["outcome"] == "ignored":
        telemetry.count("UnknownImages")
    return answer


@cache
def ports() -> Ports:
    settings = AmiRolloutSettings.from_env(environment())
    database = open_database(settings, Secrets(client("secretsmanager")))
    return Ports(
        stage=settings.stage,
        database=database,
        jobs=Jobs(database),
        workers=Workers(database),
        groups=AutoScaling(client("autoscaling"), settings.stage),
        images=Images(client("ssm"), client("ec2"), settings.stage),
        machine=Machine(client("stepfunctions"), settings.ami_rollout_machine_arn),
        scale_in=Machine(client("stepfunctions"), settings.scale_in_machine_arn),
        recorder=telemetry,
    )
