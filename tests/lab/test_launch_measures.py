"""The judge of the second act: launches without end, haste with a broken image, a silence of all taken for death."""

from collections.abc import Callable

import pytest

from lab import observer
from lab.measures import Entry, Evidence

from .test_observer import GROUP, T0, audit, clean, instance, with_audits, with_journal


def act(most: int, **tags: str) -> Entry:
    return {"t": T0 - 1, "kind": "act", "name": "second act", "most_launches": most, "tags": tags}


def image(t: float, state: str) -> Entry:
    return {"t": T0 + t, "kind": "image", "group": GROUP, "state": state}


def launched(*seconds: float) -> list[Entry]:
    return [instance(t, f"i-{100 + number}", "pending") for number, t in enumerate(seconds)]


def overdue(t: float, name: str) -> Entry:
    machine = "bp-staging-scale-in"
    return {"t": T0 + t, "kind": "execution", "machine": machine, "name": f"{name}-overdue-0", "status": "RUNNING"}


def taken_out(t: float, name: str) -> Entry:
    return instance(t, name, "terminating", "taken out of service in response to a user request")


PROBES = act(20, **{"fleet:probe-seconds": "8"})
BACKEND_AWAY: tuple[Entry, ...] = (
    {"t": T0 + 50, "kind": "backend", "state": "away"},
    {"t": T0 + 63, "kind": "backend", "state": "back"},
)
BREACHES: dict[str, tuple[Callable[[Evidence], Evidence], str]] = {
    "a fleet that launches without end": (
        with_journal(act(3), *launched(1, 2, 3, 4)),
        f"too many launches: ['{GROUP} launched 4, 3 at most']",
    ),
    "a broken image launched again and again": (
        with_journal(PROBES, image(10, "broken"), *launched(11, 11, 11, 11, 19, 21), image(30, "good")),
        "a launch 2.0 s after the one before",
    ),
    "a worker replaced while nobody could be heard": (
        lambda run: with_journal(*BACKEND_AWAY)(
            with_audits(audit("fleet_drained", None, "i-1", 60, reason="zombie"))(run)
        ),
        "replaced while the backend was away: ['i-1']",
    ),
    "a job taken from a worker while nobody could be heard": (
        lambda run: with_journal(*BACKEND_AWAY)(
            with_audits(audit("requeued", 2, "i-7", 60, reason="worker_lost"))(run)
        ),
        "replaced while the backend was away: ['i-7']",
    ),
    "an instance replaced that had nobody to register with": (
        with_journal(*BACKEND_AWAY, overdue(60, "i-8"), taken_out(61.5, "i-8")),
        "replaced while the backend was away: ['i-8']",
    ),
    "an instance given up in an outage that is over when it goes": (
        with_journal(*BACKEND_AWAY, overdue(62, "i-8"), taken_out(64, "i-8")),
        "replaced while the backend was away: ['i-8']",
    ),
}


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([overdue(49, "i-8"), taken_out(55, "i-8")], id="its deadline had passed before the outage"),
        pytest.param([overdue(60, "i-8")], id="a second look left it alone"),
        pytest.param([overdue(60, "i-8"), instance(62, "i-8", "terminating", "a spot interruption notice")], id="Spot"),
        pytest.param([overdue(64, "i-8"), taken_out(65, "i-8")], id="the backend is back"),
    ],
)
def test_an_unregistered_instance_that_the_outage_did_not_take(entries: list[Entry]) -> None:
    run = with_journal(*BACKEND_AWAY, *entries)(clean())
    assert observer.summarize(run, 70.0)["replaced_while_backend_away"] == 0


def test_probes_of_a_broken_image_and_launches_after_its_mending_are_no_haste() -> None:
    probes = launched(11, 11, 11, 11, 19, 27.5, 36, 36.1, 36.2)
    recovered = audit("registered", None, probes[-3]["id"], 40)
    run = with_journal(PROBES, image(10, "broken"), *probes, image(30, "good"))(with_audits(recovered)(clean()))
    summary = observer.summarize(run, 70.0)
    assert summary["broken"] == []
    assert summary["broken_image_launches_s"] == {GROUP: [1.0, 1.0, 1.0, 1.0, 9.0, 17.5]}
    assert (summary["max_instances_launched"], summary["instances_launched"]) == (9, {GROUP: [9]})


def test_a_scale_in_while_the_backend_is_away_is_no_replacement() -> None:
    run = with_journal(*BACKEND_AWAY)(with_audits(audit("fleet_drained", None, "i-1", 51, reason="idle"))(clean()))
    assert observer.summarize(run, 70.0)["replaced_while_backend_away"] == 0


def test_a_silent_worker_that_a_second_look_released_was_not_replaced() -> None:
    drained = audit("fleet_drained", None, "i-1", 60, reason="zombie")
    run = with_journal(*BACKEND_AWAY)(with_audits(drained, audit("fleet_undrained", None, "i-1", 64))(clean()))
    assert observer.summarize(run, 70.0)["replaced_while_backend_away"] == 0


def test_a_job_that_ends_within_the_notice_is_told_and_no_late_requeue() -> None:
    run = with_audits(
        audit(
            "fleet_drained", None, "i-2", 20, reason="spot_interruption", finish_by="2026-01-01T00:00:29", finishing=[9]
        ),
        audit("complete", 9, "i-2", 28),
    )(clean())
    summary = observer.summarize(run, 70.0)
    assert (summary["jobs_finished_in_notice"], summary["requeue_p95_s"]) == (1, None)


def test_a_requeue_counts_when_no_job_was_given_the_notice_to_finish() -> None:
    drained = audit("fleet_drained", None, "i-2", 20, reason="spot_interruption", finish_by="2026-01-01T00:00:29")
    drained["metadata"]["finishing"] = []
    run = with_audits(drained)(clean())
    before, after = (observer.summarize(each, 70.0)["requeue_p95_s"] for each in (clean(), run))
    assert before == after is not None


@pytest.mark.parametrize("name", BREACHES)
def test_the_judge_finds(name: str) -> None:
    breach, sentence = BREACHES[name]
    broken = observer.summarize(breach(clean()), 70.0)["broken"]
    assert any(sentence in found for found in broken), broken
