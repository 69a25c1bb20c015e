"""The saved queries against what the functions really log: whole handlers, MariaDB and an emulated account."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from tests.template.conftest import properties_of, resolved

from .conftest import Add, ago, leased
from .handlers import Context, load
from .insights import Query, Record, parse, value
from .test_redelivery import (  # noqa: F401 - fixtures
    Setting,
    World,
    crew,
    drained,
    holds_a_job,
    image_changed,
    jobs_wait,
    scene,
    world,
)

Say = Callable[..., list[Record]]
FUNCTIONS = ("ami_rollout", "reconcile", "scale_in", "spot_interruption")
DEFINITIONS = properties_of(resolved()["Monitoring"], "AWS::Logs::QueryDefinition").values()
QUERIES = {found["Name"].removeprefix("bp-staging/"): found for found in DEFINITIONS}


@pytest.fixture
def say(world: World, capsys: pytest.CaptureFixture[str]) -> Say:  # noqa: F811
    """Deliver a sample to its function, `about` another instance if given; what it logs, without its metrics."""

    def deliver(sample: str, about: str = "") -> list[Record]:
        function = next(name for name in FUNCTIONS if sample.startswith(name))
        forget_logger(function)
        event = json.dumps(world.sample(sample)).replace(world.instance, about or world.instance)
        load(function).handler(json.loads(event), Context())
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return [line for line in lines if "message" in line]

    return deliver


def forget_logger(name: str) -> None:
    """A logger keeps the stream that it was made with, as an execution environment does: each test has its own."""
    kept = logging.getLogger(name)
    kept.handlers.clear()
    for mark in ("init", "powertools_handler"):
        vars(kept).pop(mark, None)


def query(name: str) -> Query:
    return parse(QUERIES[name]["QueryString"])


def unseen(name: str, records: list[Record]) -> set[str]:
    """Fields of the query that no record it finds has."""
    asked, found = query(name), query(name).find(records)
    assert found, "the query finds nothing"
    return {field for field in asked.fields if all(value(record, field) is None for record in found)}


def lost_job(job: Add, worker: Add) -> None:
    worker(worker_id="i-00000000000000000", registration_source="fleet", created_at=ago(3600))
    job(**leased(600, "i-00000000000000000"), lease_token="t-9")


def test_decisions_of_a_fleet_are_found_with_all_their_fields(
    say: Say,
    scene: Callable[[Setting], None],  # noqa: F811
) -> None:
    scene(drained)
    records = say("scale_in_look")
    scene(jobs_wait)
    records += say("reconcile_tick")
    assert unseen("decisions of a fleet", records) == set()


def test_why_a_job_waited_is_found_from_its_queue_to_its_requeue(
    say: Say,
    scene: Callable[[Setting], None],  # noqa: F811
    job: Add,
    worker: Add,
) -> None:
    lost_job(job, worker)
    scene(jobs_wait)
    records = say("reconcile_tick")
    assert unseen("why did this job wait", records) == set()
    rules = {record["rule"] for record in query("why did this job wait").find(records)}
    assert {"raise", "requeue"} <= rules


def test_a_quiet_fleet_explains_nothing(say: Say, crew: int) -> None:  # noqa: F811
    assert query("why did this job wait").find(say("reconcile_tick")) == []


def test_interruptions_are_found_and_strangers_are_not(say: Say, scene: Callable[[Setting], None]) -> None:  # noqa: F811
    stranger = say("spot_interruption_terminated", about="i-00000000000000000")
    assert [record["outcome"] for record in stranger] == ["ignored"]
    scene(holds_a_job)
    records = say("spot_interruption_warning") + say("spot_interruption_respond")
    assert unseen("interruptions of a day", records) == set()
    assert len(query("interruptions of a day").find(stranger + records)) == 2


def test_rollouts_are_found_with_all_their_fields(say: Say, scene: Callable[[Setting], None]) -> None:  # noqa: F811
    scene(image_changed)
    assert unseen("rollouts of images", say("ami_rollout_look")) == set()


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_reads_logs_that_are_written(name: str) -> None:
    stacks = resolved().values()
    written = {p["LogGroupName"] for stack in stacks for p in properties_of(stack, "AWS::Logs::LogGroup").values()}
    groups: list[Any] = QUERIES[name]["LogGroupNames"]
    assert groups
    assert set(groups) <= written
