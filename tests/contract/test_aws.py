"""What the SDK is spared to parse, against emulated AWS."""

from __future__ import annotations

import boto3
import pytest
from botocore.exceptions import ClientError
from fleet_control.act.aws import parse_only

from .account import create_group, members


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
