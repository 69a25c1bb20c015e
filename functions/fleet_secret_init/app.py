"""Lambda entry: custom resource Custom::FleetSecret."""

from collections.abc import Mapping
from typing import Any

from fleet_control.act.aws import client
from fleet_control.act.parameters import Parameters
from fleet_control.flows.custom_resource import Invocation, respond
from fleet_control.flows.fleet_secret_init import bring_up
from fleet_control.messages.cloudformation import parse_request
from fleet_control.settings import FleetSecretInitSettings, environment
from fleet_control.telemetry import Telemetry

telemetry = Telemetry("fleet_secret_init")


@telemetry.handler
def handler(event: dict[str, Any], context: Any) -> Mapping[str, str] | None:
    request = parse_request(event)
    invocation = Invocation.of(context, telemetry)

    def work() -> dict[str, str]:
        FleetSecretInitSettings.from_env(environment())
        return bring_up(request, Parameters(client("ssm")), telemetry)

    return respond(request, invocation, bring_up=work, kept="secret and parameter")
