"""The terminate hook: who may go and who is waited for, whatever the cause."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fleet_control.decide.hook import Answer, Limits, answer, answers
from fleet_control.decide.model import SPOT_INTERRUPTION, TERMINATING, Drain, Instance, Worker

from tests.unit import build as b

LIMITS = Limits(drain=60, job=3600, margin=15)
HELD = (b.lease(7),)
GONE_STALE = (b.lease(7, expires_in=-1),)


def drained(reason: str, age: float = 5, leases: Any = (), seen: float | None = 2, **drain: Any) -> Worker:
    ours = Drain(100, reason, b.ago(age), **drain)
    return b.worker(draining=True, drain=ours, leases=leases, seen=seen)


def ahead(seconds: float) -> Any:
    return b.NOW + timedelta(seconds=seconds)


def told(worker: Worker | None, polled: float | None = None) -> Answer:
    return answer("i-1", worker, LIMITS, None if polled is None else b.ago(polled), b.NOW)


@pytest.mark.parametrize(
    ("found", "goes", "reason"),
    [
        pytest.param(told(None), True, "no worker", id="never registered"),
        pytest.param(told(b.worker()), False, "polls are stopped", id="not drained yet: that first"),
        pytest.param(
            told(b.worker(draining=True)), False, "polls are stopped", id="drained by an admin, who knows when"
        ),
        pytest.param(told(b.worker(leases=HELD)), False, "polls are stopped", id="busy and not drained yet"),
        pytest.param(told(drained("idle", committed=True)), True, "for good", id="our own scale-in: at once"),
        pytest.param(
            told(drained("idle", committed=True, leases=HELD)), False, "job 7", id="but never with a live lease"
        ),
        pytest.param(told(drained(TERMINATING, 5)), False, "waiting for the worker to poll", id="a poll is under way"),
        pytest.param(told(drained(TERMINATING, 20), polled=9), True, "polled twice", id="refused: nothing can come"),
        pytest.param(told(drained(TERMINATING, 60, seen=99)), True, "no poll within 60 s", id="it polls no more"),
        pytest.param(told(drained(TERMINATING, 60, GONE_STALE)), True, "no poll within", id="a lease that ran out"),
        pytest.param(
            told(drained(TERMINATING, 90, HELD)), False, "3495 s left", id="its job may take the job time-out"
        ),
        pytest.param(told(drained(TERMINATING, 3584, HELD)), False, "1 s left", id="to 15 s before it"),
        pytest.param(told(drained(TERMINATING, 3585, HELD)), True, "time is up for job 7", id="and no longer"),
        pytest.param(
            told(drained(SPOT_INTERRUPTION, 5, HELD, finish_by=ahead(100))),
            False,
            "100 s left",
            id="Spot: until its end",
        ),
        pytest.param(
            told(drained(SPOT_INTERRUPTION, 105, HELD, finish_by=b.NOW)),
            True,
            "time is up",
            id="Spot: 15 s before its end",
        ),
        pytest.param(told(drained(SPOT_INTERRUPTION, 5, HELD)), True, "time is up", id="Spot: no time was left"),
        pytest.param(
            told(drained(SPOT_INTERRUPTION, 20, finish_by=ahead(85)), polled=9),
            True,
            "polled twice",
            id="Spot: done early",
        ),
    ],
)
def test_who_may_go(found: Answer, goes: bool, reason: str) -> None:
    assert found.goes is goes
    assert reason in found.reason


def test_a_job_is_given_back_before_its_instance_goes_and_named_for_the_cause() -> None:
    by_hand = told(drained(TERMINATING, 3585, (*HELD, b.lease(8, expires_in=-5, attempts=3))))
    by_spot = told(drained(SPOT_INTERRUPTION, 105, HELD, finish_by=b.NOW))
    assert [(lost.lease.dispatch_id, lost.reason) for lost in by_hand.requeue] == [(7, "instance_terminated")]
    assert [(lost.lease.dispatch_id, lost.reason) for lost in by_spot.requeue] == [(7, "spot_interruption")]


def test_nobody_goes_with_a_live_lease_but_at_the_end() -> None:
    for reason in ("idle", "scale_to_zero", "rebalance", TERMINATING, SPOT_INTERRUPTION):
        for age in (0, 5, 60, 105, 3584):
            worker = drained(reason, age, HELD, finish_by=ahead(1) if reason == SPOT_INTERRUPTION else None)
            assert not told(worker).goes
            assert not told(worker).requeue


def test_heartbeats_keep_off_an_end_that_nobody_else_sets() -> None:
    assert told(drained(TERMINATING, 5, HELD)).extend
    assert not told(drained(TERMINATING, 5)).extend
    assert not told(drained(SPOT_INTERRUPTION, 5, HELD, finish_by=ahead(100))).extend


def test_only_who_is_waited_for_is_answered() -> None:
    waiting = replace(b.going("i-1"), worker=drained("idle", committed=True))
    others = [
        Instance(f"i-{n}", state) for n, state in enumerate(("Terminating", "Terminating:Proceed", "InService"), 2)
    ]
    assert [found.instance_id for found in answers(b.fleet(waiting, *others), b.NOW)] == ["i-1"]


@pytest.mark.parametrize("state", ["shutting-down", "terminated"])
def test_a_group_does_not_wait_for_what_is_gone(state: str) -> None:
    gone = replace(b.going("i-1"), state=state, worker=drained(TERMINATING, 5, HELD))
    (found,) = answers(b.fleet(gone), b.NOW)
    assert (found.goes, found.requeue) == (True, ())


def test_the_fleets_own_times_are_used() -> None:
    waiting = replace(b.going("i-1"), worker=drained(TERMINATING, 50, HELD))
    (found,) = answers(b.fleet(waiting, job_timeout_seconds=60, end_margin_seconds=15), b.NOW)
    assert (found.goes, len(found.requeue)) == (True, 1)
