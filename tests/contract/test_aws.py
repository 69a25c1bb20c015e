"""How clients are made, and what the SDK is spared to parse, against emulated AWS."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.loaders import JSONFileLoader
from fleet_control.act.asg import AutoScaling, Group
from fleet_control.act.aws import client, later, parse_only
from fleet_control.act.ec2 import Ec2, Ec2Instance

from .account import create_group, members

STAGE = "staging"


@pytest.fixture
def no_clients(aws: None) -> Iterator[None]:
    client.cache_clear()
    yield
    client.cache_clear()


def test_descriptions_of_services_are_read_without_ordered_dicts(no_clients: None) -> None:
    loaded = client("autoscaling").meta.service_model.metadata
    assert loaded["endpointPrefix"] == "autoscaling"
    assert type(loaded) is dict


def test_an_sdk_that_reads_its_descriptions_otherwise_is_let(no_clients: None, monkeypatch: pytest.MonkeyPatch) -> None:
    read = JSONFileLoader._load_file  # type: ignore[attr-defined]

    def of_tomorrow(self: JSONFileLoader, path: str, opens: Any, *, encoding: str) -> Any:
        assert encoding == "utf-8"
        return read(self, path, opens)

    def calls_it(self: JSONFileLoader, path: str) -> Any:
        found = (
            self._load_file(path + end, opens, encoding="utf-8")  # type: ignore[attr-defined]
            for end, opens in ((".json", open), (".json.gz", gzip.open))
        )
        return next((data for data in found if data is not None), None)

    monkeypatch.setattr(JSONFileLoader, "_load_file", of_tomorrow, raising=False)
    monkeypatch.setattr(JSONFileLoader, "load_file", calls_it)
    assert client("autoscaling").meta.service_model.metadata["endpointPrefix"] == "autoscaling"


def test_a_client_for_later_is_made_when_it_is_first_asked(no_clients: None) -> None:
    machines = later("stepfunctions")
    assert client.cache_info().currsize == 0
    assert machines.list_state_machines()["stateMachines"] == []
    assert client.cache_info().currsize == 1


def test_an_answer_holds_the_fields_that_are_read_and_no_others(aws: None) -> None:
    (member,) = members(create_group(desired=1))
    client = boto3.client("ec2")
    parse_only(client, "DescribeInstances", "instanceId", "name")
    (reservation,) = client.describe_instances()["Reservations"]
    (instance,) = reservation["Instances"]
    assert (instance["InstanceId"], instance["State"]) == (member, {"Name": "running"})
    assert "PrivateIpAddress" not in instance
    assert boto3.client("ec2").describe_instances()["Reservations"][0]["Instances"][0]["PrivateIpAddress"]


def test_an_empty_list_stays_one(aws: None) -> None:
    client = boto3.client("ec2")
    parse_only(client, "DescribeInstances", "instanceId")
    assert client.describe_instances()["Reservations"] == []


def test_an_error_keeps_its_text(aws: None) -> None:
    client = boto3.client("ec2")
    parse_only(client, "DescribeInstances", "instanceId")
    with pytest.raises(ClientError, match=r"InvalidInstanceID\.NotFound"):
        client.describe_instances(InstanceIds=["i-0a1b2c3d4e5f60718"])


def test_a_structure_of_nothing_that_is_read_goes_as_a_whole(aws: None) -> None:
    create_group(desired=1)
    client = boto3.client("autoscaling")
    parse_only(client, "DescribeAutoScalingGroups", "AutoScalingGroupName", "InstanceId")
    (group,) = client.describe_auto_scaling_groups()["AutoScalingGroups"]
    assert group.keys() & {"AvailabilityZones", "LaunchTemplate", "DesiredCapacity"} == set()
    assert [member.keys() for member in group["Instances"]] == [{"InstanceId"}]


ELSEWHERE: dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]] = {
    "no longer called": lambda _: None,
    "called without a status": lambda answer: {"body": answer["body"]},
    "called with a body that is no bytes": lambda answer: answer | {"body": answer["body"].decode()},
}


@pytest.mark.parametrize("changed", ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_an_sdk_that_parses_otherwise_costs_time_and_changes_nothing(
    aws: None, changed: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> None:
    """The hook before parsing is not one that the SDK documents."""
    create_group(desired=2)

    def read() -> tuple[list[Group], dict[str, Ec2Instance], dict[str, Ec2Instance]]:
        groups, machines = AutoScaling(scaling, STAGE), Ec2(ec2, STAGE)
        found = groups.groups()
        return found, machines.lookup(one.id for group in found for one in group.instances), machines.not_running()

    scaling, ec2 = boto3.client("autoscaling"), boto3.client("ec2")
    with_hook = read()
    for handed_over in (scaling, ec2):
        _hand_over(handed_over, changed)
    assert read() == with_hook
    assert len(with_hook[1]) == 2
    assert "AvailabilityZones" in scaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]


def _hand_over(client: Any, changed: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """The hooks of this client get what another SDK would give them; what they leave behind is not used."""
    emitter = client.meta.events
    emit = emitter.emit

    def other(event: str, **given: Any) -> Any:
        if not event.startswith("before-parse."):
            return emit(event, **given)
        instead = changed(given["response_dict"])
        return [] if instead is None else emit(event, **given | {"response_dict": instead})

    client._endpoint._event_emitter = _Emitter(other)


class _Emitter:
    def __init__(self, emit: Callable[..., Any]) -> None:
        self.emit = emit
