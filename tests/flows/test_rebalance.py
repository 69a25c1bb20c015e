"""A rebalance recommendation: kept with its instance; nothing is drained or requeued until the replacement serves."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fleet_control.errors import Blind
from fleet_control.flows.notices import receive
from fleet_control.flows.reconcile import Ports as ReconcilePorts
from fleet_control.flows.reconcile import reconcile
from fleet_control.flows.scale_in import Ports as ScaleInPorts
from fleet_control.flows.scale_in import scale_in
from fleet_control.flows.spot import Ports
from fleet_control.messages.spot import parse_spot
from fleet_control.messages.tasks import InterruptionTask, parse_scale_in

from .fakes import NOW, Stage, ago, group_name, ports_of, refused

EVENTS = Path(__file__).parents[2] / "events"
GROUP = group_name("image-to-video")
ME = "i-0a1b2c3d4e5f60718"


def recommend(stage: Stage) -> str:
    message = parse_spot(json.loads((EVENTS / "spot_interruption_rebalance.json").read_text()))
    assert not isinstance(message, InterruptionTask)
    return str(receive(ports_of(stage, Ports), message)["outcome"])


def tick(stage: Stage, at: float = 0) -> None:
    stage.now = NOW.fromtimestamp(NOW.timestamp() + at)
    for row in stage.workers.values():
        row["last_seen_at"] = stage.now
    for row in stage.dispatches.values():
        if row["status"] == "leased":  # by a heartbeat
            row |= {"updated_at": stage.now, "lease_expires_at": row["lease_expires_at"] + timedelta(seconds=900)}
    assert reconcile(ports_of(stage, ReconcilePorts, worker_limit=50), "Tick").failures == 0


def step(stage: Stage, name: str, execution: str) -> dict[str, Any]:
    task = parse_scale_in({"step": name} | dict(stage.executions[execution]))
    return scale_in(ports_of(stage, ScaleInPorts), task)


@pytest.fixture
def stage() -> Stage:
    """One busy worker."""
    stage = Stage()
    stage.fleet(desired=1)
    stage.instance(ME, created_at=ago(3000))
    stage.lease(ME)
    return stage


def test_it_is_kept_with_the_instance_and_nothing_else_happens(stage: Stage) -> None:
    assert recommend(stage) == "kept"
    assert stage.made("recommend") == [(ME, datetime(2026, 1, 5, 12, 0))]  # noqa: DTZ001 - naive UTC
    assert not stage.executions
    assert stage.workers[ME]["is_draining"] == 0
    assert not stage.made("requeue")


def test_twice_is_as_good_as_once(stage: Stage) -> None:
    assert [recommend(stage), recommend(stage)] == ["kept", "kept"]
    assert stage.recommended == {ME}


def test_of_an_instance_in_no_group_of_ours_nothing_is_kept(stage: Stage) -> None:
    stage.groups[GROUP] = replace(stage.groups[GROUP], instances=())
    assert recommend(stage) == "ignored"
    stage.workers.clear()
    stage.dispatches.clear()
    assert recommend(stage) == "ignored"
    assert not stage.made("recommend")


def test_one_that_came_after_the_end_is_ignored(stage: Stage) -> None:
    stage.instances.clear()
    assert recommend(stage) == "ignored"


@pytest.mark.parametrize(
    ("call", "error"), [("recommend", refused("CreateTags")), ("group_of", Blind("autoscaling away"))]
)
def test_one_that_cannot_be_kept_fails_so_that_it_is_repeated(stage: Stage, call: str, error: Exception) -> None:
    stage.broken[call] = error
    with pytest.raises(type(error)):
        recommend(stage)


def test_the_old_one_serves_until_the_new_one_does_then_ends_its_job_and_goes(stage: Stage) -> None:
    recommend(stage)
    tick(stage)
    new = stage.instance("i-0000000000000000a")
    row = stage.workers.pop(new)
    stage.instances[new] = replace(stage.instances[new], launched_at=NOW)
    for seconds in (10, 20, 300):
        tick(stage, seconds)
    assert not stage.made("drain")
    stage.workers[new] = row
    tick(stage, 310)
    assert stage.made("drain") == [(ME, "rebalance")]
    (execution,) = stage.executions
    assert step(stage, "look", execution)["next"] == "wait"
    stage.job()
    assert step(stage, "look", execution)["next"] == "wait"
    stage.dispatches[1]["status"] = "completed"
    tick(stage, 380)
    assert step(stage, "look", execution)["next"] == "terminate"
    assert step(stage, "terminate", execution)["next"] == "done"
    assert stage.made("terminate") == [(ME, False)]
    assert stage.groups[GROUP].desired == 1
    assert not stage.made("requeue")


def test_desired_never_moves_while_a_pool_is_replaced() -> None:
    stage = Stage()
    stage.fleet(desired=3)
    old = [stage.instance(f"i-{n:017x}", created_at=ago(3000 + n)) for n in range(3)]
    for name in old:
        stage.lease(name)
        stage.lease(name)
    stage.recommended.update(old)
    new = [stage.instance(f"i-{n:017x}") for n in range(10, 13)]
    for seconds in (0, 10, 20):
        tick(stage, seconds)
    assert len(stage.made("drain")) == 1
    assert stage.made("set_desired") == []
    assert set(new) <= {one.id for one in stage.groups[GROUP].instances}


def test_a_lost_recommendation_is_made_good_by_what_the_group_has(stage: Stage) -> None:
    stage.instance("i-0000000000000000a", created_at=ago(60))
    tick(stage)
    assert stage.made("drain") == [(ME, "rebalance")]


def test_a_machine_that_dies_on_the_way_down_is_picked_up_within_90_s(stage: Stage) -> None:
    recommend(stage)
    stage.instance("i-0000000000000000a")
    tick(stage)
    stage.running.clear()
    for seconds in range(10, 100, 10):
        tick(stage, seconds)
    assert len(stage.executions) == 2


def test_a_warning_after_the_recommendation_counts_as_ever(stage: Stage) -> None:
    recommend(stage)
    stage.instance("i-0000000000000000a")
    tick(stage)
    message = parse_spot(json.loads((EVENTS / "spot_interruption_warning.json").read_text()))
    assert not isinstance(message, InterruptionTask)
    assert receive(ports_of(stage, Ports), message)["outcome"] == "started"
