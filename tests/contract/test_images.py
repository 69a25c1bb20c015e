"""Image parameters and the images of instances, against emulated Parameter Store and EC2."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from fleet_control.act.images import Images, _ended_at
from fleet_control.errors import Blind

from .account import create_group, members


@pytest.fixture
def images(aws: None) -> Images:
    return Images(boto3.client("ssm"), boto3.client("ec2"), "staging")


def put(slug: str, image: str, stage: str = "staging") -> None:
    boto3.client("ssm").put_parameter(Name=f"/bp/{stage}/ami/{slug}", Value=image, Type="String", Overwrite=True)


def recent(instant: datetime) -> bool:
    return instant.tzinfo is None and abs((datetime.now(UTC).replace(tzinfo=None) - instant).total_seconds()) < 60


def test_a_parameter_tells_its_image_version_and_age(images: Images) -> None:
    put("face-swap", "ami-1")
    put("face-swap", "ami-2")
    found = images.wanted(["face-swap", "unheard-of"])
    assert {slug: (image.image, image.version) for slug, image in found.items()} == {"face-swap": ("ami-2", 2)}
    assert recent(found["face-swap"].since)


def test_more_parameters_than_a_call_takes_are_asked_for_in_turn(images: Images) -> None:
    slugs = [f"workflow-{n}" for n in range(21)]
    for slug in slugs:
        put(slug, "ami-1")
    assert images.wanted(slugs).keys() == set(slugs)


def test_instances_tell_their_image_and_group(images: Images) -> None:
    group, other = create_group(desired=2), create_group("face-swap", desired=1)
    create_group("avatar", desired=1)
    found = images.launched([group, other])
    assert {(one.id, one.group) for one in found} == {(name, of) for of in (group, other) for name in members(of)}
    assert {one.image for one in found} == {"ami-12c6146b"}
    assert all(recent(one.launched_at) and not one.is_gone and one.ended_at is None for one in found)


def test_an_instance_that_is_gone_tells_since_when_and_why(images: Images) -> None:
    (name,) = members(group := create_group(desired=1))
    boto3.client("ec2").terminate_instances(InstanceIds=[name])
    (found,) = [one for one in images.launched([group]) if one.id == name]
    assert found.is_gone
    assert found.ended_at is not None
    assert recent(found.ended_at)
    assert (found.why, found.taken_by_spot) == ("Client.UserInitiatedShutdown", False)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("User initiated (2026-01-05 12:00:00 GMT)", datetime(2026, 1, 5, 12)),  # noqa: DTZ001 - naive UTC
        ("Server.SpotInstanceTermination: Spot instance termination", None),
        ("", None),
    ],
)
def test_the_time_of_an_end_is_read_where_ec2_writes_one(reason: str, expected: datetime | None) -> None:
    assert _ended_at(reason) == expected


def test_no_groups_cost_no_call(images: Images) -> None:
    with Stubber(images._ec2) as answers:
        assert images.launched([]) == []
        answers.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("client", "operation", "call"),
    [("_ssm", "get_parameters", "ssm:GetParameters"), ("_ec2", "describe_instances", "ec2:DescribeInstances")],
)
def test_what_cannot_be_read_means_blind(images: Images, client: str, operation: str, call: str) -> None:
    reads: Any = {"_ssm": lambda: images.wanted(["a"]), "_ec2": lambda: images.launched(["asg-staging-a"])}
    with Stubber(getattr(images, client)) as answers:
        answers.add_client_error(operation, "AccessDeniedException", "no")
        with pytest.raises(Blind, match=f"{call} failed"):
            reads[client]()
