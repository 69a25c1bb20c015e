"""The judge finds each broken promise in what a run left behind, and nothing in a clean run."""

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab import latencies, measures, observer
from lab.measures import Entry, Evidence

GROUP, WORKFLOW = "asg-staging-face-swap", "face-swap"
MIDNIGHT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
T0 = MIDNIGHT.timestamp()


def at(seconds: float) -> dt.datetime:
    return (MIDNIGHT + dt.timedelta(seconds=seconds)).replace(tzinfo=None)


def job(t: float, dispatch: int, burst: str = "first", *, nudged: bool = False) -> Entry:
    return {"t": T0 + t, "kind": "job", "event": "committed", "dispatch_id": dispatch, "workflow": WORKFLOW,
            "burst": burst, "nudged": nudged}  # fmt: skip


def call(
    t: float, operation: str, error: str | None = None, caller: str = "bp-staging-reconcile", **asked: Any
) -> Entry:
    return {"t": T0 + t, "kind": "aws_call", "service": "autoscaling", "operation": operation, "caller": caller,
            "request": asked, "error": error}  # fmt: skip


def desire(t: float, desired: int, **fields: Any) -> Entry:
    return call(t, "SetDesiredCapacity", AutoScalingGroupName=GROUP, DesiredCapacity=str(desired), **fields)


def instance(t: float, name: str, state: str, cause: str = "") -> Entry:
    return {"t": T0 + t, "kind": "instance", "id": name, "group": GROUP, "state": state, "cause": cause}


def audit(event: str, dispatch: int | None, worker: str, t: float = 0, number: int = 0, **metadata: Any) -> Entry:
    return {"id": number, "event": event, "dispatch_id": dispatch, "worker_identifier": worker,
            "metadata": metadata or None, "created_at": at(int(t))}  # fmt: skip


def by_hand(t: float, action: str, worker: str, newest: int) -> Entry:
    """An administrator's action, when `newest` was the last audit row there was."""
    return {"t": T0 + t, "kind": "admin", "action": action, "id": worker, "audit_id": newest}


def story(limit: float, *shows: str) -> Entry:
    return {"t": T0, "kind": "story", "limit": limit, "shows": list(shows)}


def dispatch(number: int, status: str = "completed", attempts: int = 1) -> Entry:
    return {"id": number, "status": status, "attempts": attempts}


def clean() -> Evidence:
    """Two jobs on two instances; i-2 is interrupted while busy, i-1 takes over, ends idle and is terminated by name."""
    return Evidence(
        journal=[
            job(0, 1),
            job(0.1, 2),
            desire(8, 2),
            instance(20, "i-2", "warned"),
            instance(32, "i-2", "terminating", "instance was taken out in response to a spot interruption notice"),
            call(60, measures.TERMINATE, InstanceId="i-1", caller="bp-staging-scale-in"),
            instance(60, "i-1", "terminating", "taken out of service in response to a user request"),
        ],
        dispatches=[dispatch(1), dispatch(2)],
        audits=[
            audit("poll", 1, "i-1", 15),
            audit("poll", 2, "i-2", 15),
            audit("requeued", 2, "i-2", 21, reason="spot_interruption"),
            audit("complete", 1, "i-1", 25),
            audit("poll", 2, "i-1", 26),
            audit("complete", 2, "i-1", 40),
        ],
        releases=[{"instance": "i-2", "cause": "warned", "held": True, "seconds": 0.4}],
        fleets={GROUP: {"desired": 0, "max": 10, "instances": 0}},
    )


def test_a_clean_run_breaks_nothing_and_has_its_figures() -> None:
    summary = observer.summarize(clean(), 70.0)
    assert summary["broken"] == []
    assert (summary["jobs_submitted"], summary["jobs_completed"], summary["interruptions"]) == (2, 2, 1)
    assert summary["enqueue_to_request_loop_p95_s"] == 8.0
    assert summary["requeue_p95_s"] == 0.4
    assert summary["scale_out_max"] == 2
    assert summary["final_desired"] == {GROUP: 0}
    assert summary["aws_calls"] == {"autoscaling:SetDesiredCapacity": 1, f"autoscaling:{measures.TERMINATE}": 1}


def with_journal(*entries: Entry) -> Callable[[Evidence], Evidence]:
    return lambda run: replace(run, journal=[*run.journal, *entries])


def with_audits(*rows: Entry) -> Callable[[Evidence], Evidence]:
    return lambda run: replace(run, audits=[*run.audits, *rows])


BREACHES: dict[str, tuple[Callable[[Evidence], Evidence], str]] = {
    "a job that never ended": (lambda run: replace(run, dispatches=[dispatch(1), dispatch(2, "leased")]), "jobs lost"),
    "a job whose row is gone": (lambda run: replace(run, dispatches=[dispatch(1)]), "jobs lost"),
    "a job completed by two workers": (with_audits(audit("complete", 2, "i-2")), "completed twice"),
    "a job given back by its worker and by us": (
        with_audits(audit("requeued", 2, "i-2", 21, reason="spot_interruption")),
        "leases ended twice: [2]",
    ),
    "a worker terminated by name in the middle of a job": (
        with_audits(audit("poll", 3, "i-1", 58), audit("requeued", 3, "i-1", 61, reason="instance_terminated")),
        "busy workers killed: ['i-1']",
    ),
    "an attempt left on the job of an interrupted worker": (
        lambda run: replace(run, dispatches=[dispatch(1), dispatch(2, attempts=2)]),
        "attempts charged",
    ),
    "a desired capacity above max accepted": (with_journal(desire(50, 11)), "above max"),
    "a desired capacity above max seen": (
        lambda run: replace(run, samples=[{"t": T0 + 5, "fleets": {GROUP: {"desired": 12, "max": 10}}}]),
        "above max",
    ),
    "a fleet that kept an instance": (
        lambda run: replace(run, fleets={GROUP: {"desired": 0, "max": 10, "instances": 1}}),
        "not back at zero",
    ),
    "an admin's drain undone": (
        lambda run: with_journal(by_hand(30, "drain", "i-1", 6))(
            with_audits(audit("fleet_undrained", None, "i-1", 45, 7))(run)
        ),
        "admins' drains touched: ['i-1']",
    ),
    "an admin's drain undone in its very second": (
        lambda run: with_journal(by_hand(30.9, "drain", "i-1", 6), by_hand(40, "undrain", "i-1", 9))(
            with_audits(audit("fleet_undrained", None, "i-1", 30.95, 7))(run)
        ),
        "admins' drains touched: ['i-1']",
    ),
    "an admin's drain undone in the second of its end": (
        lambda run: with_journal(by_hand(30, "drain", "i-1", 6), by_hand(40.5, "undrain", "i-1", 7))(
            with_audits(audit("fleet_undrained", None, "i-1", 40.1, 7))(run)
        ),
        "admins' drains touched: ['i-1']",
    ),
    "a worker terminated by name while an admin drains it": (
        with_journal(by_hand(50, "drain", "i-1", 6), by_hand(65, "undrain", "i-1", 7)),
        "admins' drains touched: ['i-1']",
    ),
    "a job that failed": (lambda run: replace(run, dispatches=[dispatch(1), dispatch(2, "failed")]), "jobs failed: 1"),
    "a lease taken from a worker that nothing ailed": (
        with_audits(audit("requeued", 1, "i-1", 22, reason="instance_terminated")),
        "leases taken from living workers: ['i-1']",
    ),
    "a lease taken before its worker's warning": (
        with_audits(audit("requeued", 2, "i-2", 18, reason="spot_interruption")),
        "leases taken from living workers: ['i-2']",
    ),
    "a story that takes longer than it may": (with_journal(story(60.0)), "took 70.0 seconds, limit 60"),
    "a scene that did not happen": (with_journal(story(150.0, "hold")), "scene not seen, hold: no hold while"),
}


@pytest.mark.parametrize("name", BREACHES)
def test_the_judge_finds(name: str) -> None:
    breach, sentence = BREACHES[name]
    broken = observer.summarize(breach(clean()), 70.0)["broken"]
    assert any(sentence in found for found in broken), broken


@pytest.mark.parametrize(
    ("number", "rows", "second"), [(7, "after", 40.9), (6, "before", 30.1)], ids=["given back", "not yet drained"]
)
def test_a_drain_of_ours_in_the_second_of_an_admins_but_not_during_it_is_fine(
    number: int, rows: str, second: float
) -> None:
    newest = {"after": (5, 6), "before": (6, 6)}[rows]
    run = with_journal(by_hand(30.5, "drain", "i-1", newest[0]), by_hand(40.5, "undrain", "i-1", newest[1]))(clean())
    run = with_audits(audit("fleet_drained", None, "i-1", second, number, reason="idle"))(run)
    assert measures.touched_admin_drains(run) == []


def test_spot_may_take_a_worker_that_an_admin_drains() -> None:
    run = with_journal(by_hand(10, "drain", "i-2", 2), by_hand(50, "undrain", "i-2", 6))(clean())
    assert measures.touched_admin_drains(run) == []


def test_a_requeue_in_the_second_of_the_warning_fences_nobody() -> None:
    run = replace(clean(), journal=[instance(20.9, "i-2", "warned")], audits=[audit("requeued", 2, "i-2", 20.95)])
    assert measures.fenced_workers(run) == []


def test_a_death_without_warning_is_not_a_kill_of_ours_and_costs_no_attempt() -> None:
    run = replace(
        clean(),
        journal=[job(0, 1), instance(9, "i-9", "terminating", "terminated without warning")],
        dispatches=[dispatch(1)],
        audits=[
            audit("poll", 1, "i-9"),
            audit("requeued", 1, "i-9", 9, reason="instance_terminated"),
            audit("poll", 1, "i-1"),
            audit("complete", 1, "i-1"),
        ],
    )
    assert measures.cut_leases(run) == [(1, "i-9")]
    assert observer.summarize(run, 1.0)["broken"] == []


def test_a_lease_that_its_worker_never_heard_of_is_not_taken_from_it() -> None:
    run = with_audits(
        audit("poll", 1, "i-3", 10), audit("requeued", 1, "i-3", 20, reason="worker_lost"), audit("poll", 1, "i-1", 24)
    )(clean())
    said = [{"worker_id": "i-1", "event": "leased", "dispatch_id": 1}]
    knew = [*said, {"worker_id": "i-3", "event": "leased", "dispatch_id": 1}]
    assert measures.fenced_workers(replace(run, workers=said)) == []
    assert measures.fenced_workers(replace(run, workers=knew)) == ["i-3"]


def test_latency_counts_from_the_first_job_of_a_burst_to_the_first_raise_accepted() -> None:
    run = replace(
        clean(),
        journal=[
            job(10, 1, "loop"),
            job(10.1, 2, "loop"),
            desire(11, 0),
            desire(15, 4, error="ValidationError"),
            desire(18, 4),
            job(30, 3, "nudged", nudged=True),
            job(30.1, 4, "nudged", nudged=True),
            desire(30.4, 6),
            job(40, 5, "served without a raise"),
            job(40, 6, "served without a raise"),
            desire(45, 5),
            job(50, 7, "single"),
            desire(51, 6),
        ],
    )
    assert latencies.request_latencies(run, nudged=False) == {"loop": 8.0}
    assert latencies.request_latencies(run, nudged=True) == {"nudged": 0.4}


def test_a_burst_answered_after_the_next_one_counts_by_its_own_answer() -> None:
    run = replace(clean(), journal=[job(0, 1, "a"), job(0, 2, "a"), job(9, 3, "b"), job(9, 4, "b"), desire(14, 2)])
    assert latencies.request_latencies(run, nudged=False) == {"a": 14.0, "b": 5.0}


def test_a_burst_that_is_never_answered_counts_with_its_age() -> None:
    run = replace(clean(), journal=[job(0, 1, "a"), job(0, 2, "a"), instance(31, "i-1", "terminating")])
    assert latencies.request_latencies(run, nudged=False) == {"a": 31.0}


def test_a_burst_that_standing_capacity_worked_off_counts_with_its_age_when_it_asked_no_more() -> None:
    def seen(t: float, queued: int, leased: int) -> Entry:
        return {"t": T0 + t, "fleets": {GROUP: {"desired": 1, "max": 10, "queued": queued, "leased": leased}}}

    run = replace(
        clean(),
        journal=[job(1, 1, "a"), job(1.2, 2, "a"), job(1.4, 3, "a"), job(25, 4, "b"), job(25, 5, "b"), desire(25.5, 3)],
        samples=[seen(0.5, 0, 0), seen(1.3, 1, 1), seen(1.5, 0, 0), seen(2, 2, 1), seen(6, 1, 1), seen(24, 0, 1)],
    )
    assert latencies.request_latencies(run, nudged=False) == {"a": 5.0, "b": 0.5}


@pytest.mark.parametrize(("desired", "leased", "counts"), [(2, 2, False), (2, 3, True), (10, 30, False)])
def test_a_burst_asks_for_a_raise_when_it_is_more_than_desired_is_there_for(
    desired: int, leased: int, *, counts: bool
) -> None:
    seen = {"t": T0 - 1, "fleets": {GROUP: {"desired": desired, "max": 10, "queued": 0, "leased": leased}}}
    run = replace(clean(), journal=[job(0, 1, "a"), job(0, 2, "a"), job(9, 3, "b"), desire(14, 11)], samples=[seen])
    assert latencies.request_latencies(run, nudged=False) == ({"a": 14.0} if counts else {})


def test_a_raise_is_told_from_what_terminations_left_of_desired() -> None:
    run = replace(
        clean(),
        journal=[desire(1, 4), job(20, 1), job(20, 2), desire(21, 3)],
        samples=[{"t": T0 + 10, "fleets": {GROUP: {"desired": 1, "max": 10}}}],
    )
    assert latencies.request_latencies(run, nudged=False) == {"first": 1.0}


def test_the_labs_own_calls_are_not_the_products() -> None:
    run = with_journal(call(1, "DescribeAutoScalingGroups", caller="observer"))(clean())
    assert "autoscaling:DescribeAutoScalingGroups" not in observer.summarize(run, 1.0)["aws_calls"]


@pytest.mark.parametrize(
    ("values", "expected"), [([], None), ([3.0], 3.0), ([1.0, 2.0, 9.0], 9.0), (list(range(1, 101)), 95)]
)
def test_p95_is_the_nearest_rank(values: list[float], expected: float | None) -> None:
    assert measures.p95(values) == expected


def test_a_missed_aim_is_told_but_breaks_nothing() -> None:
    slow = replace(clean(), journal=[job(0, 1), job(0, 2), desire(14, 2), *clean().journal[3:]])
    summary = observer.summarize(slow, 70.0)
    assert any("enqueue_to_request_loop_p95_s is 14.0" in sentence for sentence in summary["aims_missed"])
    assert summary["broken"] == []


def test_decisions_are_read_from_all_logs_in_order_of_time(tmp_path: Path) -> None:
    def log(name: str, *seconds: int) -> None:
        records = [json.dumps({"message": "decision", "timestamp": f"2026-01-01T00:00:0{s}Z"}) for s in seconds]
        (tmp_path / f"{name}.log").write_text("\n".join(["START", *records, '{"message": "other"}', ""]))

    log("reconcile", 1, 3)
    log("scale-in", 2)
    assert [entry["function"] for entry in observer.decisions(tmp_path)] == ["reconcile", "scale-in", "reconcile"]
