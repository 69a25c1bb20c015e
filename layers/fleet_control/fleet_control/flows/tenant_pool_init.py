"""The stage's databases and the control plane's least-privilege user: created, brought up to date, never dropped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fleet_control.act.secrets import DatabaseLogin
from fleet_control.act.tenants import USER
from fleet_control.errors import BadEvent
from fleet_control.messages.cloudformation import CustomResourceRequest, TenantPools, parse_properties
from fleet_control.telemetry import Recorder


class Databases(Protocol):
    def create(self, name: str) -> None: ...
    def set_user(self, password: str) -> None: ...
    def grant(self, central: str) -> tuple[str, ...]: ...
    def revoke_surplus(self, central: str) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Ports:
    """`login` reads a database secret by its id, past any cache: it may have been rotated just now."""

    central: str
    databases: Databases
    login: Callable[[str], DatabaseLogin]
    recorder: Recorder


def bring_up(request: CustomResourceRequest, ports: Ports) -> dict[str, str]:
    """Idempotent: run it again after the backend's migrations, and `PendingGrants` comes back empty."""
    wanted = parse_properties(TenantPools, request)
    password = _password(wanted.fleet_control_secret_id, ports)
    for name in (ports.central, *wanted.pools):
        ports.databases.create(name)
    ports.databases.set_user(password)
    pending = ports.databases.grant(ports.central)
    revoked = ports.databases.revoke_surplus(ports.central)
    ports.recorder.decision(
        rule="tenant_pools",
        reason=f"grants wait for the tables of {', '.join(pending)}"
        if pending
        else "every database and grant is there",
        pools=list(wanted.pools),
        pending_grants=list(pending),
        revoked=list(revoked),
    )
    return {"PendingGrants": ",".join(pending)}


def _password(secret_id: str, ports: Ports) -> str:
    login = ports.login(secret_id)
    if login.username != USER:
        # Another user's secret here would change that user's password and hand our grants to it.
        raise BadEvent(f"FleetControlSecretId: secret {secret_id} is not of the user {USER}")
    return login.password.get_secret_value()
