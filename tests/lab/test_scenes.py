"""A scene counts when it happened, and is told when it did not."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from lab import measures, scenes
from lab.measures import Entry, Evidence

from .test_observer import GROUP, T0, audit, by_hand, call, desire, dispatch, instance, job, story

LATE = "late job"


def sample(t: float, desired: int) -> Entry:
    return {"t": T0 + t, "fleets": {GROUP: {"desired": desired, "max": 10, "queued": 0, "leased": 0}}}


def decision(t: float, rule: str, function: str = "bp-staging-reconcile", **fields: object) -> Entry:
    stamp = f"2026-01-01T00:{int(t) // 60:02d}:{t % 60:06.3f}+00:00"
    return {"timestamp": stamp, "function": function, "fleet": GROUP, "rule": rule, **fields}


def start(t: float, name: str) -> Entry:
    return call(t, "StartExecution", caller="bp-staging-spot-interruption", name=name)


def execution(name: str, status: str = "RUNNING") -> Entry:
    return {"t": T0 + 21, "kind": "execution", "name": name, "status": status}


def ring(t: float) -> Entry:
    name = "bp-staging-face-swap-queue-empty"
    return {"t": T0 + t, "kind": "alarm", "name": name, "from": "OK", "to": "ALARM"}


def database(t: float, state: str) -> Entry:
    return {"t": T0 + t, "kind": "database", "state": state}


def terminate(t: float, name: str) -> list[Entry]:
    return [
        call(t, measures.TERMINATE, InstanceId=name),
        instance(t, name, "terminating", "in response to a user request"),
    ]


def told() -> Evidence:
    """One fleet through every scene."""
    return Evidence(
        journal=[
            story(150.0, *scenes.SCENES),
            job(0, 1, "quiet"), job(0, 2, "quiet"), desire(8, 1), instance(8, "i-1", "pending"),
            job(10, 3, "loud", nudged=True), job(10, 4, "loud", nudged=True), desire(10.2, 3),
            instance(11, "i-2", "pending"), instance(11, "i-3", "pending"), instance(11, "i-4", "pending"),
            instance(20, "i-2", "warned"), start(20.1, "i-2-interruption"), start(20.2, "i-2-interruption"),
            execution("i-2-interruption"), execution("i-2-interruption", "SUCCEEDED"),
            instance(32, "i-2", "terminating", "spot interruption"),
            *terminate(35, "i-4"),
            instance(40, "i-3", "terminating", "terminated without warning"),
            by_hand(45, "drain", "i-1", 8), database(50, "away"), database(58, "back"),
            by_hand(60, "undrain", "i-1", 9),
            ring(70), job(70.1, 5, LATE),
            *terminate(90, "i-1"),
        ],
        dispatches=[dispatch(number) for number in range(1, 6)],
        audits=[
            audit("poll", 1, "i-1", 15, 1), audit("poll", 2, "i-2", 15, 2), audit("requeued", 2, "i-2", 20, 3),
            audit("poll", 2, "i-3", 21, 4), audit("requeued", 2, "i-3", 40, 5), audit("complete", 1, "i-1", 44, 6),
            audit("poll", 2, "i-1", 44, 7), audit("complete", 2, "i-1", 61, 10),
            audit("poll", 5, "i-1", 72, 11), audit("complete", 5, "i-1", 75, 12),
        ],
        samples=[sample(0, 0), sample(9, 1), sample(12, 3), sample(36, 2), sample(91, 0)],
        decisions=[
            decision(55, "hold"),
            decision(70.3, "scale-to-zero", "bp-staging-scale-to-zero", outcome="aborted", started=[]),
        ],
        fleets={GROUP: {"desired": 0, "max": 10, "instances": 0}},
    )  # fmt: skip


def without(*unwanted: Entry) -> Callable[[Evidence], Evidence]:
    return lambda run: replace(run, journal=[entry for entry in run.journal if entry not in unwanted])


def without_audits(*numbers: int) -> Callable[[Evidence], Evidence]:
    return lambda run: replace(run, audits=[row for row in run.audits if row["id"] not in numbers])


def decided(*decisions: Entry) -> Callable[[Evidence], Evidence]:
    return lambda run: replace(run, decisions=list(decisions))


ABORTED = decision(70.3, "scale-to-zero", outcome="aborted", started=[])
STARTED = decision(70.3, "scale-to-zero", outcome="started", started=["i-1"])
MISSING: dict[str, tuple[str, Callable[[Evidence], Evidence]]] = {
    "the burst without a nudge found instances there": ("from zero by the tick", without(job(0, 1, "quiet"))),
    "desired rose once": (
        "backlog followed",
        lambda run: replace(run, samples=[sample(0, 0), sample(9, 3), sample(91, 0)]),
    ),
    "desired never fell": ("backlog followed", lambda run: replace(run, samples=run.samples[:3])),
    "no neighbour was busy": ("idle one gone", without_audits(1, 4)),
    "the instance was busy itself": (
        "idle one gone",
        lambda run: replace(run, audits=[audit("poll", 9, "i-4", 15, 0), *run.audits]),
    ),
    "the warning came once": ("second warning", without(start(20.2, "i-2-interruption"))),
    "the second warning had an execution of its own": (
        "second warning",
        lambda run: replace(run, journal=[*run.journal, execution("i-2-interruption")]),
    ),
    "the job was requeued twice": (
        "second warning",
        lambda run: replace(run, audits=[*run.audits, audit("requeued", 2, "i-2", 20, 13)]),
    ),
    "the warned one held no job": ("second warning", without_audits(3)),
    "the dead one's job stayed with it": ("sudden death", without_audits(5)),
    "nobody died": ("sudden death", without(instance(40, "i-3", "terminating", "terminated without warning"))),
    "nobody drained by hand": ("admin's drain", without(by_hand(45, "drain", "i-1", 8))),
    "nobody gave back": ("admin's drain", without(by_hand(60, "undrain", "i-1", 9))),
    "the drained one was touched": (
        "admin's drain",
        lambda run: replace(run, audits=[*run.audits, audit("fleet_drained", None, "i-1", 59, 9)]),
    ),
    "no hold": ("hold", decided(ABORTED)),
    "a hold before the outage": ("hold", decided(decision(49, "hold"), ABORTED)),
    "only the metrics held": ("hold", decided(decision(55, "hold", "bp-staging-publish-metrics"), ABORTED)),
    "nothing done after the outage": ("hold", without(*terminate(90, "i-1"))),
    "no late job": ("late job", without(job(70.1, 5, LATE))),
    "the late job was not so late": ("late job", without(ring(70))),
    "the late job was not served": ("late job", without_audits(12)),
    "scale to zero went on": ("late job", decided(decision(55, "hold"), STARTED)),
    "a fleet that had no instance": (
        "scale to zero",
        lambda run: replace(run, fleets={**run.fleets, "asg-staging-other": {"desired": 0, "max": 9, "instances": 0}}),
    ),
    "a fleet not at zero": (
        "scale to zero",
        lambda run: replace(run, fleets={GROUP: {"desired": 1, "max": 10, "instances": 1}}),
    ),
}


def unseen(run: Evidence) -> set[str]:
    return {
        name for sentence in scenes.missing(run) for name in scenes.SCENES if f"scene not seen, {name}:" in sentence
    }


def test_a_run_in_which_everything_happened_misses_only_what_one_fleet_cannot_show() -> None:
    assert unseen(told()) == {"from zero by a nudge"}


def test_a_fleet_may_leave_zero_by_a_nudge() -> None:
    nudged = [job(0, 1, "loud", nudged=True), job(0, 2, "loud", nudged=True), desire(0.2, 1)]
    assert scenes.by_a_nudge(replace(told(), journal=nudged))
    assert not scenes.by_the_tick(replace(told(), journal=nudged))


@pytest.mark.parametrize("name", MISSING)
def test_a_scene_that_did_not_happen_is_told(name: str) -> None:
    scene, change = MISSING[name]
    assert scene in unseen(change(told()))


@pytest.mark.parametrize(
    "decisions", [(STARTED, decision(71, "scale-in look", next="release")), ()], ids=["released", "never begun"]
)
def test_a_late_job_is_kept_from_scale_in_by_a_release_or_by_none_that_began(decisions: tuple[Entry, ...]) -> None:
    assert scenes.late_job(replace(told(), decisions=list(decisions)))


def test_stories_that_promise_nothing_miss_nothing_and_limits_add_up() -> None:
    run = replace(told(), journal=[story(124.0), story(115.0)])
    assert scenes.missing(run) == []
    assert scenes.limit(run) == 239.0
