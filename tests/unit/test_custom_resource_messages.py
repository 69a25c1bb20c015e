"""Requests of CloudFormation and of the schedule: what is accepted, and what names its fault."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from fleet_control.errors import BadEvent
from fleet_control.messages.cloudformation import FleetSecret, TenantPools, parse_properties, parse_request
from fleet_control.messages.schedule import parse_metrics_schedule

EVENTS = Path(__file__).parents[2] / "events"


def sample(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tenant_pool_init_create", "Create"),
        ("tenant_pool_init_update", "Update"),
        ("tenant_pool_init_delete", "Delete"),
        ("fleet_secret_init_create", "Create"),
        ("ami_parameter_init_create", "Create"),
    ],
)
def test_the_samples_are_understood(name: str, kind: str) -> None:
    request = parse_request(sample(name))
    assert request.request_type == kind
    assert request.response_url.startswith("https://")


def test_the_envelope_never_shows_its_signed_url() -> None:
    assert "X-Amz-Signature" not in repr(parse_request(sample("tenant_pool_init_create")))


def test_a_call_by_hand_needs_no_address() -> None:
    assert parse_request({"RequestType": "Update"}).response_url == ""


def with_pools(pools: object) -> dict[str, Any]:
    return {"RequestType": "Create", "ResourceProperties": {"Pools": pools, "FleetControlSecretId": "x"}}


@pytest.mark.parametrize(
    "pool",
    ["", "1pool", "Pool", "pool-1", "pool`; DROP DATABASE bp; --", "p" * 64, "tenant pool", "_pool", "pool\n", 7, None],
)
def test_a_name_that_is_no_plain_identifier_is_refused(pool: object) -> None:
    with pytest.raises(BadEvent, match=r"Pools\.1"):
        parse_properties(TenantPools, parse_request(with_pools(["tenant_pool_1", pool])))


@pytest.mark.parametrize("pools", [[], None, "tenant_pool_1"])
def test_pools_must_be_a_list_with_something_in_it(pools: object) -> None:
    with pytest.raises(BadEvent, match="Pools"):
        parse_properties(TenantPools, parse_request(with_pools(pools)))


def test_the_longest_name_is_accepted() -> None:
    assert parse_properties(TenantPools, parse_request(with_pools(["p" * 63]))).pools == ("p" * 63,)


@pytest.mark.parametrize("name", ["", "fleet-secret", "/bp/staging/", "/bp//x", "/bp/a b"])
def test_a_parameter_is_named_by_its_full_path(name: str) -> None:
    request = parse_request({"RequestType": "Create", "ResourceProperties": {"ParameterName": name}})
    with pytest.raises(BadEvent, match="ParameterName"):
        parse_properties(FleetSecret, request)


@pytest.mark.parametrize("event", [None, [], {"period_seconds": 0}, {"period_seconds": "often"}, {}])
def test_a_schedule_without_a_period_is_malformed(event: object) -> None:
    with pytest.raises(BadEvent, match="metrics schedule"):
        parse_metrics_schedule(event)


def test_a_look_is_due_now_unless_the_rule_says_when() -> None:
    now = datetime(2026, 1, 5, 12, 0, 31)  # noqa: DTZ001 - the database's time is naive UTC
    due = datetime(2026, 1, 5, 13, 0, tzinfo=timezone(timedelta(hours=1)))
    assert parse_metrics_schedule({"period_seconds": 60}).due(now) == now
    told = parse_metrics_schedule({"period_seconds": 60, "time": due.isoformat()})
    assert told.due(now) == due.astimezone(UTC).replace(tzinfo=None) == now.replace(second=0)
