"""Tags of a live stage: a bad one holds its fleet alone, by name, until mended. A notice twice is a notice once."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.lab.waiting import until

from .places import Stage

BAD, GOOD = "image-to-video", "face-swap"
JOBS = itertools.count(1)
Tag = Callable[[str, str | None], None]


@pytest.fixture
def tag(stage: Stage) -> Iterator[Tag]:
    """tag("fleet:idle-seconds", "1") sets a tag of the first fleet's group as an operator does, None takes it away.
    What was before comes back at the end."""
    scaling = stage.world.cloud.client("autoscaling")
    name = f"asg-staging-{BAD}"
    [group] = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
    before = {one["Key"]: one["Value"] for one in group["Tags"]}
    touched: set[str] = set()

    def put(key: str, value: str | None) -> None:
        touched.add(key)
        one = {"ResourceId": name, "ResourceType": "auto-scaling-group", "Key": key}
        if value is None:
            scaling.delete_tags(Tags=[one])
        else:
            scaling.create_or_update_tags(Tags=[one | {"Value": value, "PropagateAtLaunch": False}])

    yield put
    for key in touched:
        put(key, before.get(key))


@pytest.fixture
def waiting(stage: Stage) -> Iterator[None]:
    """Two jobs for each fleet; afterwards no job, and both groups empty again."""
    for slug in (BAD, GOOD):
        for _ in range(2):
            queue(stage, slug)
    yield
    stage.run("DELETE FROM ai_job_dispatches")
    for slug in (BAD, GOOD):
        stage.world.cloud.client("autoscaling").set_desired_capacity(
            AutoScalingGroupName=f"asg-staging-{slug}", DesiredCapacity=0
        )


def queue(stage: Stage, slug: str, **changes: Any) -> int:
    row: dict[str, Any] = {"tenant_id": "t", "tenant_job_id": next(JOBS), "provider": "self_hosted"} | changes
    slots = ", ".join(["%s"] * len(row))
    return stage.run(
        f"INSERT INTO ai_job_dispatches ({', '.join(row)}, workflow_id, created_at)"  # noqa: S608
        f" SELECT {slots}, id, UTC_TIMESTAMP() FROM workflows WHERE slug = %s",
        *row.values(),
        slug,
    )


def look(stage: Stage) -> dict[str, Any]:
    result: dict[str, Any] = stage.world.invoke("reconcile", {"step": "tick"})
    return result


@pytest.mark.usefixtures("waiting")
def test_a_bad_tag_holds_its_fleet_alone_until_it_is_mended(stage: Stage, tag: Tag) -> None:
    tag("fleet:backlog-target", "plenty")
    assert look(stage)["held"] == 1
    assert stage.desired() == {BAD: 0, GOOD: 1}
    [held] = stage.decisions("reconcile", rule="hold")
    assert held["fleet"] == f"asg-staging-{BAD}"
    assert held["reason"].startswith(f"group asg-staging-{BAD}: tag fleet:backlog-target = 'plenty': ")
    assert stage.counted("reconcile", "Holds") == 1
    tag("fleet:backlog-target", "1")
    assert look(stage)["held"] == 0
    assert stage.desired() == {BAD: 2, GOOD: 1}
    assert stage.counted("reconcile", "Holds") == 1


@pytest.mark.usefixtures("waiting")
def test_a_workflow_claimed_twice_is_served_once_and_the_second_group_is_held_naming_both(
    stage: Stage, tag: Tag
) -> None:
    tag("fleet:workflows", f"{BAD} {GOOD}")
    assert look(stage)["held"] == 1
    assert stage.desired() == {BAD: 0, GOOD: 1}
    [held] = stage.decisions("reconcile", rule="hold")
    assert held["reason"] == (
        f"group asg-staging-{BAD}: tag fleet:workflows = '{BAD} {GOOD}': "
        f"group asg-staging-{GOOD} serves workflow {GOOD} already"
    )
    tag("fleet:workflows", BAD)
    look(stage)
    assert stage.desired() == {BAD: 1, GOOD: 1}


@pytest.mark.usefixtures("waiting")
def test_a_workflow_that_no_row_knows_is_named_and_counted_and_its_fleet_goes_on(stage: Stage, tag: Tag) -> None:
    tag("fleet:workflows", f"{BAD} imgae-to-video")
    assert look(stage)["held"] == 0
    assert stage.desired() == {BAD: 1, GOOD: 1}
    [decision] = stage.decisions("reconcile", fleet=f"asg-staging-{BAD}")
    assert decision["reason"].endswith("no workflow is named imgae-to-video")
    assert stage.counted("reconcile", "UnknownWorkflows") == 1


def test_a_warning_delivered_twice_is_answered_once(stage: Stage) -> None:
    instance = "i-0aaaaaaaaaaaaaaa0"
    row = stage.run(
        "INSERT INTO comfy_ui_workers (worker_id, registration_source, is_approved, last_seen_at, created_at)"
        " VALUES (%s, 'fleet', 1, UTC_TIMESTAMP(), UTC_TIMESTAMP())",
        instance,
    )
    held = {"status": "leased", "worker_id": instance, "lease_token": "token", "attempts": 2}
    dispatch = queue(stage, BAD, **held)
    stage.run("UPDATE ai_job_dispatches SET lease_expires_at = UTC_TIMESTAMP() + INTERVAL 900 SECOND")
    detail = {"instance-id": instance, "instance-action": "terminate"}
    for _ in range(2):
        stage.world.put_event("aws.ec2", "EC2 Spot Instance Interruption Warning", detail)
    until(lambda: stage.rows()["ai_job_dispatches"][0]["status"] == "queued", seconds=15)
    heard = ("started", "duplicate")  # AWS answers alike a name that still runs with the same input
    until(lambda: sum(d.get("outcome") in heard for d in stage.decisions("spot-interruption")) == 2, seconds=15)
    audit = [(line["event"], json.loads(line["metadata"])["reason"]) for line in stage.rows()["worker_audit_logs"]]
    assert sorted(audit) == [("fleet_drained", "spot_interruption"), ("requeued", "spot_interruption")]
    assert {(d["id"], d["attempts"]) for d in stage.rows()["ai_job_dispatches"]} == {(dispatch, 1)}
    assert len(stage.happened("execution", status="RUNNING")) == 1
    for statement in ("ai_job_dispatches", "worker_audit_logs", f"comfy_ui_workers WHERE id = {row}"):
        stage.run(f"DELETE FROM {statement}")  # noqa: S608
