"""Lambda entry: one step of the `scale_in` machine."""

from functools import cache
from typing import Any

from fleet_control.act.asg import AutoScaling
from fleet_control.act.aws import client
from fleet_control.act.database import open_database
from fleet_control.act.jobs import Jobs
from fleet_control.act.secrets import Secrets
from fleet_control.act.workers import Workers
from fleet_control.flows.scale_in import Ports, scale_in
from fleet_control.messages.tasks import parse_scale_in
from fleet_control.settings import ScaleInSettings, environment
from fleet_control.telemetry import Telemetry

telemetry = Telemetry("scale_in")


@telemetry.handler
def handler(event: dict[str, Any], context: Any) -> dict[str, object]:  # noqa: ARG001
    return scale_in(ports(), parse_scale_in(event))


@cache
def ports() -> Ports:
    settings = ScaleInSettings.from_env(environment())
    database = open_database(settings, Secrets(client("secretsmanager")))
    groups = AutoScaling(client("autoscaling"), settings.stage)
    return Ports(database, Jobs(database), Workers(database), groups, telemetry)
