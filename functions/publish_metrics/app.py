"""Lambda entry: the contract's metrics, each minute."""

from functools import cache
from typing import Any

from fleet_control.act.asg import AutoScaling
from fleet_control.act.aws import client
from fleet_control.act.cloudwatch import CloudWatch
from fleet_control.act.database import open_database
from fleet_control.act.queue_metrics import QueueMetrics
from fleet_control.act.secrets import Secrets
from fleet_control.flows.publish_metrics import Ports, publish
from fleet_control.messages.schedule import parse_metrics_schedule
from fleet_control.settings import PublishMetricsSettings, environment
from fleet_control.telemetry import Telemetry

telemetry = Telemetry("publish_metrics")


@telemetry.handler
def handler(event: dict[str, Any], context: Any) -> dict[str, object]:  # noqa: ARG001
    return publish(parse_metrics_schedule(event), ports())


@cache
def ports() -> Ports:
    settings = PublishMetricsSettings.from_env(environment())
    fleets = AutoScaling(client("autoscaling"), settings.stage)
    return Ports(
        stage=settings.stage,
        queue=QueueMetrics(open_database(settings, Secrets(client("secretsmanager")))),
        served_workflows=lambda: frozenset(slug for group in fleets.groups() for slug in group.workflows),
        metrics=CloudWatch(client("cloudwatch"), settings.metrics_namespace),
        recorder=telemetry,
    )
