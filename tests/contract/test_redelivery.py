"""Every sample of capacity, delivered twice to its handler: MariaDB and an emulated account, nothing faked between."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fleet_control.act.aws import client
from fleet_control.act.ec2 import REBALANCE_TAG
from fleet_control.act.tenants import USER

from lab.mariadb import Connection, MariaDb

from .account import create_group, create_machine, create_queue, executions, messages
from .account import desired as desired_of
from .account import members as members_of
from .conftest import PASSWORD, Add, ago, leased
from .handlers import Context, load

EVENTS = Path(__file__).parents[2] / "events"
SAMPLE_INSTANCE = "i-0a1b2c3d4e5f60718"
GROUP = "asg-staging-image-to-video"
MACHINES = ("scale-in", "spot-interruption", "ami-rollout")
TABLES = ("ai_job_dispatches", "comfy_ui_workers", "worker_workflows", "worker_audit_logs")


def recommended() -> list[str]:
    found = client("ec2").describe_tags(Filters=[{"Name": "key", "Values": [REBALANCE_TAG]}])["Tags"]
    return [tag["ResourceId"] for tag in found]


class World:
    """One fleet with one instance, whose worker is row 1."""

    def __init__(self, root: Connection, arns: list[str]) -> None:
        self._root, self._arns = root, arns
        (self.instance,) = members_of(GROUP)

    def sample(self, name: str) -> dict[str, Any]:
        """The sample, about this world's instance."""
        text = (EVENTS / f"{name}.json").read_text().replace(SAMPLE_INSTANCE, self.instance)
        event: dict[str, Any] = json.loads(text)
        return event

    def snapshot(self) -> dict[str, Any]:
        """Everything a delivery could change."""
        tables = {table: self._rows(table) for table in TABLES}
        groups: dict[str, Any] = {"desired": desired_of(GROUP), "members": members_of(GROUP)}
        groups["recommended"] = recommended()
        return tables | groups | {arn: executions(arn) for arn in self._arns}

    def _rows(self, table: str) -> list[dict[str, Any]]:
        with self._root.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table} ORDER BY id")  # noqa: S608
            return list(cursor.fetchall())


@pytest.fixture
def world(aws: None, mariadb: MariaDb, root: Connection, workflow: int, monkeypatch: pytest.MonkeyPatch) -> World:
    client.cache_clear()  # what another test's function reads of EC2 is less
    secret = mariadb.master_secret() | {"username": USER, "password": PASSWORD}
    client("secretsmanager").create_secret(Name="/bp/staging/rds/fleet-control", SecretString=json.dumps(secret))
    scale_in, spot, rollout = (create_machine(f"bp-staging-{name}") for name in MACHINES)
    environment = {
        "STAGE": "staging",
        "DB_SECRET_ID": "/bp/staging/rds/fleet-control",
        "DB_CA_FILE": str(mariadb.ca_file),
        "SCALE_IN_MACHINE_ARN": scale_in,
        "SPOT_INTERRUPTION_MACHINE_ARN": spot,
        "AMI_ROLLOUT_MACHINE_ARN": rollout,
        "FLEET_WORKER_LIMIT": "50",
        "DEAD_LETTERS_URL": create_queue("bp-staging-failed-invocations"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    create_group(desired=1)
    return World(root, [scale_in, spot, rollout])


@pytest.fixture
def crew(world: World, worker: Add) -> int:
    """The instance's worker: seen a moment ago, idle for an hour."""
    return worker(worker_id=world.instance, registration_source="fleet", created_at=ago(3600))


FUNCTIONS = ("ami_rollout", "reconcile", "scale_in", "scale_to_zero", "spot_interruption")
GIVEN_BACK = {"ai_job_dispatches", "comfy_ui_workers", "worker_audit_logs"}
Setting = Callable[[World, Add, Add], None]


def jobs_wait(world: World, job: Add, audit: Add) -> None:
    for _ in range(5):
        job()


def queue_is_empty(world: World, job: Add, audit: Add) -> None:
    job(status="completed", created_at=ago(4000), updated_at=ago(3600))


def holds_a_job(world: World, job: Add, audit: Add) -> None:
    job(**leased(600, world.instance, attempts=2), lease_token="t-1")


def drained(world: World, job: Add, audit: Add, *, seconds_ago: float = 5) -> None:
    world._root.cursor().execute("UPDATE comfy_ui_workers SET is_draining = 1, last_seen_at = %s", ("2026-01-01",))
    audit("fleet_drained", 0, seconds_ago, worker_id=1, metadata='{"reason": "idle"}')


def drained_long_ago(world: World, job: Add, audit: Add) -> None:
    drained(world, job, audit, seconds_ago=70)


def image_changed(world: World, job: Add, audit: Add) -> None:
    for image in ("ami-12c6146b", "ami-0a1b2c3d4e5f60718"):
        client("ssm").put_parameter(
            Name="/bp/staging/ami/image-to-video", Value=image, Type="String", DataType="aws:ec2:image", Overwrite=True
        )
    client("autoscaling").update_auto_scaling_group(AutoScalingGroupName=GROUP, MinSize=1)


@pytest.fixture
def scene(world: World, crew: int, job: Add, audit: Add) -> Callable[[Setting], None]:
    return lambda setting: setting(world, job, audit)


@pytest.mark.parametrize(
    ("sample", "setting", "changed"),
    [
        ("reconcile_tick", jobs_wait, {"desired", "members"}),
        ("reconcile_tick", queue_is_empty, {"comfy_ui_workers", "worker_audit_logs", "scale-in"}),
        ("scale_to_zero_queue_empty", queue_is_empty, {"comfy_ui_workers", "worker_audit_logs", "scale-in"}),
        ("scale_to_zero_queue_empty", jobs_wait, set()),
        ("scale_in_look", drained, set()),
        ("scale_in_terminate", drained_long_ago, {"worker_audit_logs", "desired", "members"}),
        ("scale_in_terminate", holds_a_job, set()),
        ("scale_in_release", drained, {"comfy_ui_workers", "worker_audit_logs"}),
        ("spot_interruption_warning", holds_a_job, {"spot-interruption"}),
        ("spot_interruption_shutting_down", holds_a_job, GIVEN_BACK),
        ("spot_interruption_terminated", holds_a_job, GIVEN_BACK | {"worker_workflows"}),
        ("spot_interruption_terminate_action", holds_a_job, {"spot-interruption"}),
        ("spot_interruption_rebalance", holds_a_job, {"recommended"}),
        ("spot_interruption_respond_terminating", queue_is_empty, {"comfy_ui_workers", "worker_audit_logs"}),
        ("spot_interruption_respond", holds_a_job, GIVEN_BACK),
        ("ami_rollout_image_changed", image_changed, {"ami-rollout"}),
        ("ami_rollout_survey", image_changed, {"ami-rollout"}),
        ("ami_rollout_look", image_changed, {"comfy_ui_workers", "worker_audit_logs", "scale-in"}),
    ],
)
def test_a_second_delivery_changes_nothing_more(
    world: World, scene: Callable[[Setting], None], sample: str, setting: Setting, changed: set[str]
) -> None:
    scene(setting)
    handler = load(next(name for name in FUNCTIONS if sample.startswith(name))).handler
    event, before = world.sample(sample), world.snapshot()
    handler(event, Context())
    once = world.snapshot()
    assert {key.split("bp-staging-")[-1] for key in once if once[key] != before[key]} == changed
    handler(event, Context())
    assert world.snapshot() == once


def test_whatever_nudges_again_changes_nothing_more(world: World, scene: Callable[[Setting], None]) -> None:
    scene(jobs_wait)
    handler = load("reconcile").handler
    nudges = sorted(path.stem for path in EVENTS.glob("reconcile_*.json"))
    assert len(nudges) == 6
    handler(world.sample(nudges[0]), Context())
    once = world.snapshot()
    assert once["desired"] == 3
    for nudge in nudges:
        answer = handler(world.sample(nudge), Context())
        assert answer == {"batchItemFailures": []} if nudge == "reconcile_job_queued" else answer["outcome"] == "acted"
    assert world.snapshot() == once


READABLE = '{"source": "bp.backend", "detail-type": "JobQueued", "id": "1", "time": "2026-01-05T12:00:00Z", ' + (
    '"detail": {"workflow_slug": "image-to-video"}}'
)
UNREADABLE = READABLE.replace('"image-to-video"', "7")


def batch(*bodies: str) -> dict[str, Any]:
    records = [{"messageId": f"m-{n}", "body": body, "eventSource": "aws:sqs"} for n, body in enumerate(bodies)]
    return {"Records": records}


@pytest.mark.parametrize(
    ("body", "reason"),
    [(UNREADABLE, "detail.workflow_slug: "), ("no JSON", "body: Invalid JSON"), ("[" * 5_000, "body: ")],
    ids=["field", "text", "nested"],
)
def test_a_nudge_that_cannot_be_read_is_kept_with_its_reason_and_spoils_no_other(
    world: World, scene: Callable[[Setting], None], body: str, reason: str
) -> None:
    scene(jobs_wait)
    answer = load("reconcile").handler(batch(body, READABLE), Context())
    assert answer == {"batchItemFailures": []}
    [letter] = messages("bp-staging-failed-invocations")
    assert (letter["requestPayload"], letter["responsePayload"]["errorType"]) == (body, "BadEvent")
    assert letter["responsePayload"]["errorMessage"].startswith(reason)
    assert letter["requestContext"]["functionArn"] == Context.invoked_function_arn
    assert world.snapshot()["desired"] == 3


def test_a_nudge_that_could_not_even_be_kept_comes_again_by_itself(
    world: World, scene: Callable[[Setting], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene(jobs_wait)
    monkeypatch.setenv("DEAD_LETTERS_URL", "https://sqs.us-east-1.amazonaws.com/123456789012/nowhere")
    answer = load("reconcile").handler(batch(READABLE, UNREADABLE), Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m-1"}]}
    assert world.snapshot()["desired"] == 3


def test_a_batch_in_which_nothing_can_be_read_is_no_look(world: World, scene: Callable[[Setting], None]) -> None:
    scene(jobs_wait)
    before = world.snapshot()
    unknown = READABLE.replace("JobQueued", "JobDone")
    assert load("reconcile").handler(batch(UNREADABLE, unknown), Context()) == {"batchItemFailures": []}
    assert world.snapshot() == before


@pytest.mark.parametrize("kind", ["interruption", "shutting-down", "terminated"])
def test_a_respond_of_every_kind_twice_gives_the_job_back_once(world: World, crew: int, job: Add, kind: str) -> None:
    job(**leased(600, world.instance, attempts=2), lease_token="t-1")
    event = world.sample("spot_interruption_respond")
    event["notice"]["kind"] = kind
    handler = load("spot_interruption").handler
    answers = [handler(event, Context()) for _ in range(2)]
    assert [answer["requeued"] for answer in answers] == [1, 0]
    (dispatch,) = world.snapshot()["ai_job_dispatches"]
    assert (dispatch["status"], dispatch["attempts"]) == ("queued", 1)
    assert len(world.snapshot()["comfy_ui_workers"]) == (0 if kind == "terminated" else 1)


def test_the_time_from_a_notice_to_the_jobs_return_is_measured(
    world: World, crew: int, job: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    job(**leased(600, world.instance, attempts=2), lease_token="t-1")
    started = datetime.now(UTC) - timedelta(seconds=7)
    load("spot_interruption").handler(
        world.sample("spot_interruption_respond") | {"started": started.isoformat()}, Context()
    )
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (measured,) = [line["RequeueSeconds"] for line in said if "RequeueSeconds" in line]
    assert 7 <= measured[0] < 20


def test_it_is_measured_too_where_no_machine_starts(
    world: World, crew: int, job: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    job(**leased(600, world.instance, attempts=2), lease_token="t-1")
    since = datetime.now(UTC) - timedelta(seconds=7)
    load("spot_interruption").handler(
        world.sample("spot_interruption_shutting_down") | {"time": since.isoformat()}, Context()
    )
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (measured,) = [line["RequeueSeconds"] for line in said if "RequeueSeconds" in line]
    assert 7 <= measured[0] < 20
