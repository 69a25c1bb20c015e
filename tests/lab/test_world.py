"""The world comes up from the product's own templates, and what may befall a fleet can befall it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.cloud import journal as journals
from lab.cloud.groups import Pace
from lab.cloud.members import find_group
from lab.world import Scale, World

from .waiting import until

PACE = Pace(settle=0.05, launch=0.2, terminate=0.1, notice_death=0.1)
GROUP = "asg-staging-image-to-video"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    scale = Scale(minute=5, retries=0.01, pace=PACE)
    with World(tmp_path_factory.mktemp("world"), scale=scale, tags={"fleet:warmup-seconds": "5"}) as world:
        yield world


def entries(world: World, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in journals.read(world.run_dir / "journal.jsonl") if entry["kind"] == kind]


def test_every_fleet_is_there_with_its_policy_as_tuned(world: World) -> None:
    groups = {group["AutoScalingGroupName"]: group for group in world.fleets()}
    assert set(groups) == {GROUP, "asg-staging-face-swap"}
    tags = {tag["Key"]: tag["Value"] for tag in groups[GROUP]["Tags"]}
    assert (tags["fleet:workflows"], tags["fleet:warmup-seconds"]) == ("image-to-video", "5")
    assert [groups[GROUP][key] for key in ("MinSize", "MaxSize", "DesiredCapacity")] == [0, 10, 0]


def test_every_function_runs_with_the_template_s_settings(world: World) -> None:
    names = {path.name.replace("_", "-") for path in (Path(__file__).parents[2] / "functions").iterdir()}
    described = world.cloud.client("lambda").list_functions()["Functions"]
    assert {function["FunctionName"].removeprefix("bp-staging-") for function in described} == names
    assert {function["Environment"]["Variables"]["STAGE"] for function in described} == {"staging"}


def test_the_first_deployment_made_the_secret_and_the_database_user(world: World) -> None:
    parameter = world.cloud.client("ssm").get_parameter(Name="/bp/staging/fleet-secret", WithDecryption=True)
    assert len(parameter["Parameter"]["Value"]) >= 32
    stored = world.cloud.client("secretsmanager").get_secret_value(SecretId="/bp/staging/rds/fleet-control")
    login = json.loads(stored["SecretString"])
    with world.connect(user=login["username"], password=login["password"]) as session, session.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) AS jobs FROM ai_job_dispatches")
        assert cursor.fetchone() == {"jobs": 0}


def test_alarms_and_topics_are_wired_as_declared(world: World) -> None:
    alarms = world.cloud.client("cloudwatch").describe_alarms(
        AlarmNames=[f"bp-staging-{s}" for s in ("face-swap-queue-empty",)]
    )
    [alarm] = alarms["MetricAlarms"]
    [topic] = alarm["AlarmActions"]
    assert topic.endswith(":bp-staging-scale-to-zero")
    [subscription] = world.cloud.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert subscription["Endpoint"].endswith(":function:bp-staging-scale-to-zero")


def test_machines_are_the_files_byte_for_byte_but_for_arns(world: World) -> None:
    machines = world.cloud.client("stepfunctions")
    [arn] = [
        m["stateMachineArn"] for m in machines.list_state_machines()["stateMachines"] if m["name"].endswith("scale-in")
    ]
    described = machines.describe_state_machine(stateMachineArn=arn)
    text = (Path(__file__).parents[2] / "statemachines" / "scale_in.asl.json").read_text()
    function = "arn:aws:lambda:us-east-1:123456789012:function:bp-staging-scale-in"
    assert described["definition"] == text.replace("${ScaleInFunctionArn}", function)
    assert "$$.Execution.Name" in described["definition"]


def test_a_nudge_reaches_reconcile_and_its_calls_are_journaled_under_its_name(world: World) -> None:
    world.put_event("bp.backend", "JobQueued", {"workflow_slug": "image-to-video"})
    [invocation] = until(lambda: [e for e in entries(world, "invocation") if e["function"] == "bp-staging-reconcile"])
    assert invocation["error"] is None
    calls = [e["operation"] for e in entries(world, "aws_call") if e["caller"] == "bp-staging-reconcile"]
    assert "DescribeAutoScalingGroups" in calls


def queue(world: World, jobs: int) -> None:
    with world.connect() as session, session.cursor() as cursor:
        cursor.execute("INSERT INTO workflows (name, slug) VALUES ('Video', 'image-to-video')")
        for job in range(jobs):
            cursor.execute(
                "INSERT INTO ai_job_dispatches (tenant_id, tenant_job_id, provider, workflow_id, created_at) "
                "SELECT 'tenant', %s, 'self_hosted', id, UTC_TIMESTAMP() FROM workflows",
                (job,),
            )


def test_instances_come_are_interrupted_and_die(world: World) -> None:
    running: list[tuple[str, str]] = []
    gone: list[str] = []
    world.cloud.groups.on_running = lambda instance, group, tags: running.append((group, tags["WorkflowSlug"]))
    world.cloud.groups.on_gone = gone.append
    queue(world, jobs=4)
    world.put_event("bp.backend", "JobQueued", {"workflow_slug": "image-to-video"})
    until(lambda: list(world.instances().values()) == ["InService"] * 2)
    first, second = world.instances()
    world.interrupt(first, notice_seconds=0.5)
    world.kill(second)
    until(lambda: {first, second} <= set(gone) and len(running) >= 4, seconds=15)
    assert set(running) == {(GROUP, "image-to-video")}
    [image] = {instance["ImageId"] for instance in _described(world, list(world.instances()))}
    assert image.startswith("ami-")


def _described(world: World, ids: list[str]) -> list[dict[str, Any]]:
    reservations = world.cloud.client("ec2").describe_instances(InstanceIds=ids)["Reservations"]
    return [instance for reservation in reservations for instance in reservation["Instances"]]


def test_the_group_s_hook_and_its_rebalancing_are_the_template_s(world: World) -> None:
    described = world.cloud.client("autoscaling").describe_lifecycle_hooks(AutoScalingGroupName=GROUP)
    [hook] = described["LifecycleHooks"]
    assert hook["LifecycleTransition"] == "autoscaling:EC2_INSTANCE_TERMINATING"
    assert hook["HeartbeatTimeout"] == 150
    with world.cloud.lock:
        assert find_group(GROUP).capacity_rebalance is True


def test_a_zone_goes_as_a_whole_and_a_broken_image_boots_nothing(world: World) -> None:
    until(lambda: set(world.instances().values()) == {"InService"}, seconds=15)
    zones = world.zones("image-to-video")
    zone = sorted(zones.values())[0]
    there = {instance for instance, its in zones.items() if its == zone}
    assert all(world.boots(instance) for instance in zones)
    world.ship_image("image-to-video", broken=True)
    assert set(world.reclaim_zone(zone, notice_seconds=0.3)) == there
    new = until(lambda: set(world.zones("image-to-video")) - set(zones), seconds=15)
    assert not any(world.boots(instance) for instance in new)
    assert zone not in {world.zones("image-to-video")[instance] for instance in new}
    world.reopen_zone(zone)
    world.ship_image("image-to-video", broken=False)


def test_the_database_goes_and_comes_back(world: World) -> None:
    back = world.database_away(0.3)
    back.join(20)
    with world.connect() as session, session.cursor() as cursor:
        cursor.execute("SELECT 1 AS one")
        assert cursor.fetchone() == {"one": 1}


def test_closing_leaves_no_process_behind(world: World) -> None:
    """Last: it ends the world of this module."""
    before = _processes(world)
    assert len(before) >= 8
    world.close()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before))
    assert _processes(world) == set()


def _processes(world: World) -> set[int]:
    """Our children that belong to this world: its database by the data directory, its functions by the endpoint."""
    children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    pids = {int(pid) for file in children for pid in file.read_text().split()}
    marks = (str(world.run_dir).encode(), world.cloud.endpoint.encode())
    return {pid for pid in pids if any(mark in _told(pid) for mark in marks)}


def _told(pid: int) -> bytes:
    process = Path(f"/proc/{pid}")
    return (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
