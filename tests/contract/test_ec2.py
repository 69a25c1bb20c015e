"""Instances against emulated EC2: states and launch times, by group and by id."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from fleet_control.act.ec2 import FILTER_VALUES, Ec2
from fleet_control.errors import Blind

from .account import create_group, members


@pytest.fixture
def ec2(aws: None) -> Ec2:
    return Ec2(boto3.client("ec2"), "staging")


def test_of_what_the_stages_groups_launched_only_those_that_do_not_run_are_described(ec2: Ec2) -> None:
    ours, runs = members(create_group(desired=2))
    (elsewhere,) = members(create_group(stage="production", desired=1))
    by_hand = boto3.client("ec2").run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"][0]
    boto3.client("ec2").terminate_instances(InstanceIds=[ours, elsewhere, by_hand["InstanceId"]])
    assert {name: one.state for name, one in ec2.not_running().items()} == {ours: "terminated"}
    assert runs in ec2.lookup([runs])


def test_launch_times_are_naive_utc(ec2: Ec2) -> None:
    (member,) = members(create_group(desired=1))
    instance = ec2.lookup([member])[member]
    assert instance.state == "running"
    assert instance.launched_at.tzinfo is None
    assert abs((datetime.now(UTC).replace(tzinfo=None) - instance.launched_at).total_seconds()) < 60


def test_an_instance_of_nobodys_group_is_found_by_its_id(ec2: Ec2) -> None:
    by_hand = boto3.client("ec2").run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"][0]
    found = ec2.lookup([by_hand["InstanceId"], "i-00000000000000000"])
    assert [one.id for one in found.values()] == [by_hand["InstanceId"]]


def test_a_terminated_instance_says_so(ec2: Ec2) -> None:
    (member,) = members(create_group(desired=1))
    boto3.client("ec2").terminate_instances(InstanceIds=[member])
    assert ec2.lookup([member])[member].state == "terminated"


def test_no_ids_cost_no_call(ec2: Ec2) -> None:
    with Stubber(ec2._client) as answers:
        assert ec2.lookup([]) == {}
        answers.assert_no_pending_responses()


def test_more_ids_than_a_filter_takes_are_asked_for_in_turn(ec2: Ec2) -> None:
    asked: list[Any] = []
    ec2._client.meta.events.register(
        "provide-client-params.ec2.DescribeInstances", lambda params, **_: asked.append(params["Filters"][0]["Values"])
    )
    assert ec2.lookup(f"i-{n:017x}" for n in range(2 * FILTER_VALUES + 1)) == {}
    assert [len(ids) for ids in asked] == [FILTER_VALUES, FILTER_VALUES, 1]


def test_ec2_that_cannot_be_read_means_blind(ec2: Ec2) -> None:
    with Stubber(ec2._client) as answers:
        answers.add_client_error("describe_instances", "UnauthorizedOperation", "no")
        with pytest.raises(Blind, match="ec2:DescribeInstances failed \\(UnauthorizedOperation\\)"):
            ec2.not_running()


AT = datetime(2026, 1, 5, 12, 0, 0)  # noqa: DTZ001 - naive UTC, as everywhere


def test_a_recommendation_is_kept_with_its_instance_until_that_one_goes(ec2: Ec2) -> None:
    first, second = members(create_group(desired=2))
    assert ec2.recommended() == frozenset()
    assert ec2.recommend(first, AT)
    assert ec2.recommend(first, AT)
    assert ec2.recommended() == {first}
    (reservation,) = boto3.client("ec2").describe_instances(InstanceIds=[first])["Reservations"]
    tags = {tag["Key"]: tag["Value"] for tag in reservation["Instances"][0]["Tags"]}
    assert tags["fleet:rebalance-recommended"] == "2026-01-05T12:00:00"
    boto3.client("ec2").terminate_instances(InstanceIds=[first])
    assert ec2.recommended() == frozenset()
    assert second not in ec2.recommended()


def test_recommendations_of_another_stage_are_not_seen(ec2: Ec2) -> None:
    (elsewhere,) = members(create_group(stage="production", desired=1))
    ec2.recommend(elsewhere, AT)
    assert ec2.recommended() == frozenset()


def test_a_recommendation_about_what_is_gone_is_no_error(ec2: Ec2) -> None:
    with Stubber(ec2._client) as answers:
        answers.add_client_error("create_tags", "InvalidInstanceID.NotFound", "The instance ID does not exist")
        assert not ec2.recommend("i-0a1b2c3d4e5f60718", AT)


def test_a_recommendation_that_cannot_be_kept_is_an_error(ec2: Ec2) -> None:
    with Stubber(ec2._client) as answers:
        answers.add_client_error("create_tags", "UnauthorizedOperation", "no")
        with pytest.raises(ClientError, match="UnauthorizedOperation"):
            ec2.recommend("i-0a1b2c3d4e5f60718", AT)


def test_recommendations_that_cannot_be_read_mean_blind(ec2: Ec2) -> None:
    with Stubber(ec2._client) as answers:
        answers.add_client_error("describe_instances", "RequestLimitExceeded", "no")
        with pytest.raises(Blind, match="ec2:DescribeInstances failed"):
            ec2.recommended()


@pytest.mark.parametrize(
    ("code", "by_spot"),
    [("Server.SpotInstanceTermination", True), ("Client.UserInitiatedShutdown", False), ("", False)],
)
def test_an_instance_that_spot_took_says_so(ec2: Ec2, code: str, by_spot: bool) -> None:
    machine = {
        "InstanceId": "i-1",
        "State": {"Name": "terminated"},
        "LaunchTime": datetime(2026, 1, 5, tzinfo=UTC),
        "StateReason": {"Code": code},
    }
    with Stubber(ec2._client) as answers:
        answers.add_response("describe_instances", {"Reservations": [{"Instances": [machine]}]})
        assert ec2.lookup(["i-1"])["i-1"].taken_by_spot is by_spot
