"""Lambda entry: custom resource Custom::TenantPools, also called by hand after the backend's migrations."""

from collections.abc import Mapping
from typing import Any

from fleet_control.act.aws import client
from fleet_control.act.database import Database
from fleet_control.act.secrets import DatabaseLogin, Secrets
from fleet_control.act.tenants import TenantDatabases
from fleet_control.flows.custom_resource import Invocation, respond
from fleet_control.flows.tenant_pool_init import Ports, bring_up
from fleet_control.messages.cloudformation import parse_request
from fleet_control.settings import TenantPoolInitSettings, environment
from fleet_control.telemetry import Telemetry

telemetry = Telemetry("tenant_pool_init")


@telemetry.handler
def handler(event: dict[str, Any], context: Any) -> Mapping[str, str] | None:
    request = parse_request(event)
    invocation = Invocation.of(context, telemetry)
    # Wired inside: a wrong setting must be answered too.
    return respond(request, invocation, bring_up=lambda: bring_up(request, ports()), kept="databases and user")


def ports() -> Ports:
    settings = TenantPoolInitSettings.from_env(environment())
    secrets = Secrets(client("secretsmanager"))

    def master(*, fresh: bool) -> DatabaseLogin:
        return secrets.database_login(settings.db_secret_id, fresh=fresh)

    return Ports(
        central=settings.central_db_name,
        databases=TenantDatabases(Database(master, database=None, ca_file=settings.db_ca_file)),
        login=lambda secret_id: secrets.database_login(secret_id, fresh=True),
        recorder=telemetry,
    )
