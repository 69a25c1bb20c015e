"""Databases, then the user, then its grants; and nothing at all on a bad name or another user's secret."""

import json
from pathlib import Path
from typing import Any

import pytest
from fleet_control.act.secrets import DatabaseLogin
from fleet_control.errors import BadEvent
from fleet_control.flows.tenant_pool_init import Ports, bring_up
from fleet_control.messages.cloudformation import CustomResourceRequest, parse_request
from pydantic import SecretStr

from .recorder import FakeRecorder

EVENTS = Path(__file__).parents[2] / "events"


class FakeDatabases:
    def __init__(self, pending: tuple[str, ...] = (), surplus: tuple[str, ...] = ()) -> None:
        self.calls: list[tuple[str, ...]] = []
        self._pending, self._surplus = pending, surplus

    def create(self, name: str) -> None:
        self.calls.append(("create", name))

    def set_user(self, password: str) -> None:
        self.calls.append(("set_user", password))

    def grant(self, central: str) -> tuple[str, ...]:
        self.calls.append(("grant", central))
        return self._pending

    def revoke_surplus(self, central: str) -> tuple[str, ...]:
        self.calls.append(("revoke_surplus", central))
        return self._surplus


def ports(databases: FakeDatabases, username: str = "fleet_control") -> Ports:
    def login(secret_id: str) -> DatabaseLogin:
        assert secret_id == "/bp/staging/rds/fleet-control"
        return DatabaseLogin(host="db", username=username, password=SecretStr("hunter2"))

    return Ports("bp", databases, login, FakeRecorder())


def request(name: str = "tenant_pool_init_create", **properties: Any) -> CustomResourceRequest:
    event = json.loads((EVENTS / f"{name}.json").read_text())
    event["ResourceProperties"] |= properties
    return parse_request(event)


def test_everything_is_made_in_the_order_it_needs() -> None:
    databases = FakeDatabases()
    assert bring_up(request(), ports(databases)) == {"PendingGrants": ""}
    assert databases.calls == [
        ("create", "bp"),
        ("create", "tenant_pool_1"),
        ("create", "tenant_pool_2"),
        ("set_user", "hunter2"),
        ("grant", "bp"),
        ("revoke_surplus", "bp"),
    ]


def test_an_update_adds_the_new_pool() -> None:
    databases = FakeDatabases()
    bring_up(request("tenant_pool_init_update"), ports(databases))
    assert ("create", "tenant_pool_3") in databases.calls


def test_the_same_request_twice_does_the_same_twice() -> None:
    databases = FakeDatabases()
    for _ in range(2):
        bring_up(request(), ports(databases))
    assert databases.calls[:6] == databases.calls[6:]


def test_tables_still_missing_are_told() -> None:
    databases = FakeDatabases(pending=("bp.workflows", "bp.worker_audit_logs"))
    assert bring_up(request(), ports(databases)) == {"PendingGrants": "bp.workflows,bp.worker_audit_logs"}


def test_one_bad_name_stops_everything_before_anything() -> None:
    databases = FakeDatabases()
    with pytest.raises(BadEvent, match="Pools"):
        bring_up(request(Pools=["tenant_pool_1", "x`; DROP DATABASE bp"]), ports(databases))
    assert databases.calls == []


def test_the_secret_of_another_user_changes_no_password() -> None:
    databases = FakeDatabases()
    with pytest.raises(BadEvent, match="FleetControlSecretId"):
        bring_up(request(), ports(databases, username="admin"))
    assert databases.calls == []


def test_the_record_has_no_password() -> None:
    wired = ports(FakeDatabases(surplus=("DROP on *.*",)))
    bring_up(request(), wired)
    assert isinstance(wired.recorder, FakeRecorder)
    assert wired.recorder.decisions == [
        {
            "rule": "tenant_pools",
            "reason": "every database and grant is there",
            "pools": ["tenant_pool_1", "tenant_pool_2"],
            "pending_grants": [],
            "revoked": ["DROP on *.*"],
        }
    ]
