"""Transitions of the Standard machines, by what happens: the product's own decisions through its own ASL files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fleet_control.decide import hook, looks, scale_in
from fleet_control.decide.model import IDLE, REBALANCE, SPOT_INTERRUPTION, Drain, Lease, Policy, Worker

from bench.product import ROOT

POLICY = Policy(workflows=("image-to-video",), min_size=0, max_size=10)
BEGIN = datetime(2026, 1, 5, 12)  # noqa: DTZ001 - naive UTC, as in the database
JOB = 1
LAST_JOB_SECONDS = 120
"""Half of a job of 240 s is left, on the average, when its worker is drained for its replacement."""


@dataclass(frozen=True, slots=True)
class Execution:
    """`tasks` are calls of its function; Step Functions counts its start as a transition, too."""

    transitions: int
    tasks: int


def executions() -> dict[str, Execution]:
    """By what they are for. Warned workers have a job that may finish and does not; to see one refused that has none
    takes as many looks."""
    spot, down = "spot_interruption.asl.json", "scale_in.asl.json"
    return {
        "scale_in_idle": through(down, _scale_in(IDLE, 0)),
        "scale_in_replaced": through(down, _scale_in(REBALANCE, LAST_JOB_SECONDS)),
        "warning": through(spot, _warned()),
        "hook_of_a_warning": through(spot, _hook()),
    }


def through(file: str, answers: Iterator[str]) -> Execution:
    """`answers` are what its tasks say under `next`. Raises KeyError for a kind of state that is not known here."""
    definition = json.loads((ROOT / "statemachines" / file).read_text())
    name, transitions, tasks, said = definition["StartAt"], 1, 0, ""
    while True:
        state = definition["States"][name]
        transitions += 1
        if state["Type"] in ("Succeed", "Fail"):
            return Execution(transitions, tasks)
        if state["Type"] == "Task":
            tasks, said = tasks + 1, next(answers)
        name = _choice(state, said) if state["Type"] == "Choice" else state["Next"]


def _choice(state: dict[str, Any], said: str) -> str:
    chosen = (rule["Next"] for rule in state["Choices"] if rule.get("StringEquals") == said)
    return str(next(chosen, state["Default"]))


def _scale_in(reason: str, busy: float) -> Iterator[str]:
    """A worker that polls whenever it has no job, which it has for so many seconds more."""
    now, wait, polled_at = BEGIN, POLICY.drain_look_seconds, None
    while True:
        worker = _worker(Drain(1, reason, BEGIN), now, busy)
        verdict = scale_in.look(
            worker, drain_id=1, waiting=0, limit_seconds=POLICY.drain_limit_seconds, polled_at=polled_at, now=now
        )
        yield verdict.next.value
        if verdict.next is not scale_in.Next.WAIT:
            yield "done"
        polled_at, wait = verdict.polled_at or polled_at, max(wait, verdict.rest)
        now += timedelta(seconds=wait)


def _warned() -> Iterator[str]:
    """Its job may finish and does not."""
    now, look = BEGIN, looks.first_look(POLICY.end_margin_seconds)
    while True:
        worker, drain = _spot(now)
        then = looks.after_warning(worker, drain, look=look, limit=POLICY.drain_limit_seconds, polled_at=None, now=now)
        yield "done" if then.seconds is None else "wait"
        now += timedelta(seconds=then.seconds or 0)


def _hook() -> Iterator[str]:
    """Of the same instance; it comes before the warning's mark."""
    now, look = BEGIN, looks.first_look(POLICY.end_margin_seconds)
    limits = hook.Limits(POLICY.drain_limit_seconds, POLICY.job_timeout_seconds, POLICY.end_margin_seconds)
    drain = None
    while True:
        answer = hook.answer("i-1", _worker(drain, now, 3600), limits, None, now)
        yield "done" if answer.goes else "wait"
        now += timedelta(seconds=looks.for_hook(answer, look, now))
        drain = _spot(now)[1]


def _spot(now: datetime) -> tuple[Worker, Drain]:
    ahead = timedelta(seconds=POLICY.notice_seconds - POLICY.end_margin_seconds)
    drain = Drain(1, SPOT_INTERRUPTION, BEGIN, finish_by=BEGIN + ahead, finishing=frozenset({JOB}))
    return _worker(drain, now, 3600), drain


def _worker(drain: Drain | None, now: datetime, busy: float) -> Worker:
    end = BEGIN + timedelta(seconds=busy)
    lease = Lease(JOB, "image-to-video", "i-1", "token", end, 1)
    working = now < end
    return Worker(1, "i-1", BEGIN, BEGIN, BEGIN if working else now, True, drain is not None, drain, (lease,) * working)
