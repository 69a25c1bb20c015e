"""One worker that has died, or the backend that is away: the count that tells one from the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fleet_control.decide.model import SPOT_INTERRUPTION, WORKER_LOST, ZOMBIE, Fleet, HeldFleet, Instance, Stray
from fleet_control.decide.plan import plan
from fleet_control.decide.scale_in import Next, look
from fleet_control.decide.silence import silence

from tests.unit import build as b


def member(name: str, seen: float | None, *, lease: float | None = None, **values: Any) -> Instance:
    """`seen` seconds ago; `lease`: for how many seconds its lease still runs."""
    number = int(name.removeprefix("i-"))
    held = () if lease is None else (b.lease(number, holder=name, expires_in=lease),)
    return Instance(name, launched_at=b.ago(9000), worker=b.worker(name, seen=seen, leases=held, **values))


POLLS = member("i-9", 2)


@pytest.mark.parametrize(
    ("members", "away", "zombies"),
    [
        pytest.param([POLLS], False, [], id="all is well"),
        pytest.param([member("i-1", 299), POLLS], False, [], id="not silent for long enough"),
        pytest.param([member("i-1", 300), POLLS], False, ["i-1"], id="silent while another polls: dead"),
        pytest.param([member("i-1", 300)], False, ["i-1"], id="one alone proves nothing of the backend: dead"),
        pytest.param(
            [member("i-1", 300), member("i-2", 298)], True, [], id="two, and nobody since: the backend is away"
        ),
        pytest.param([member("i-1", 300), member("i-2", 230)], True, [], id="within a quarter of the window: together"),
        pytest.param([member("i-1", 300), member("i-2", 74)], False, ["i-1"], id="answered clearly later: dead"),
        pytest.param(
            [member("i-1", 300), member("i-2", 75)], False, [], id="answered later, and now nobody: perhaps it is away"
        ),
        pytest.param(
            [member("i-1", 800, lease=-1), member("i-2", 80), member("i-3", 100, lease=800)],
            False,
            [],
            id="a lease runs out in the first minutes of an outage: its worker could not complete",
        ),
        pytest.param(
            [member("i-1", 300), member("i-2", 310), member("i-3", 305)],
            True,
            [],
            id="all of three fall silent together",
        ),
        pytest.param(
            [member("i-1", 300), member("i-2", 310), POLLS], False, ["i-1", "i-2"], id="two of three: both are dead"
        ),
        pytest.param(
            [member("i-1", 300), member("i-2", 900, lease=600)], True, [], id="a silent one at work proves nothing"
        ),
        pytest.param([member("i-1", 3599, lease=600), POLLS], False, [], id="silence under a live lease is work"),
        pytest.param([member("i-1", 3600, lease=600), POLLS], False, ["i-1"], id="but not beyond the job's time-out"),
        pytest.param([member("i-1", 1000, lease=-100), POLLS], False, ["i-1"], id="an expired lease keeps nobody"),
        pytest.param([member("i-1", None), POLLS], False, ["i-1"], id="registered long ago and never seen: dead"),
        pytest.param([member("i-1", 900, draining=True), POLLS], False, [], id="an admin's drain is the admin's"),
        pytest.param(
            [replace(member("i-1", 900), lifecycle="Standby"), POLLS], False, [], id="out of the group's service"
        ),
        pytest.param(
            [replace(member("i-1", 900), state="stopped"), POLLS], False, [], id="not running: EC2's business"
        ),
        pytest.param(
            [member("i-1", 900, draining=True, drain=b.drain(SPOT_INTERRUPTION)), member("i-2", 300)],
            False,
            ["i-2"],
            id="a warned one may be gone already: it is not counted",
        ),
    ],
)
def test_dead_or_away(members: list[Instance], away: bool, zombies: list[str]) -> None:
    seen = b.observation(b.fleet(*members))
    assert silence(seen).backend_away is away
    assert [worker.instance_id for worker in plan(seen, 50).fleets[0].zombies] == zombies


def test_one_who_has_just_registered_need_not_have_polled() -> None:
    fresh = replace(b.worker("i-1", seen=None), registered_at=b.ago(10))
    seen = b.observation(b.fleet(Instance("i-1", launched_at=b.ago(200), worker=fresh), POLLS))
    assert plan(seen, 50).fleets[0].zombies == ()


def test_another_fleets_workers_are_witnesses() -> None:
    silent = b.fleet(member("i-1", 400), member("i-2", 400), name="a")
    decided = plan(b.observation(silent, b.fleet(POLLS, name="b")), 50)
    assert [w.instance_id for w in decided.fleets[0].zombies] == ["i-1", "i-2"]


def test_a_worker_outside_our_fleets_is_a_witness() -> None:
    seen = b.observation(
        b.fleet(member("i-1", 400), member("i-2", 400)), strays=(Stray("i-9", "running", POLLS.worker),)
    )
    assert not silence(seen).backend_away


@pytest.mark.parametrize(("seen", "gone"), [(400, []), (10, ["i-1"])], ids=["silent, too", "heard of"])
def test_a_tag_that_cannot_be_read_leaves_no_other_fleets_worker_the_only_one(seen: float, gone: list[str]) -> None:
    """In an outage as ever: those of the fleet on hold are silent as well, and nobody is replaced."""
    fleet = b.fleet(member("i-1", 400), b.booting("i-2", age=700, lifecycle="InService"), queued=3)
    held = HeldFleet("asg-b", "a bad tag", 1, instances=(member("i-8", seen),))
    decided = plan(b.observation(fleet, held=(held,)), 50).fleets[0]
    assert [w.instance_id for w in decided.zombies] == gone
    assert len(decided.overdue) == len(gone)
    assert (decided.rule == "hold") == (not gone)


@pytest.mark.parametrize(
    "fleet",
    [
        pytest.param(b.fleet(queued=20), id="nothing is launched"),
        pytest.param(b.fleet(desired=9), id="nothing is lowered"),
        pytest.param(b.fleet(b.booting("i-3", age=900)), id="nobody overdue is replaced: it cannot register"),
        pytest.param(b.fleet(b.draining("i-3", ZOMBIE, age=100)), id="no zombie's drain is picked up"),
    ],
)
def test_while_the_backend_is_away_every_fleet_is_held(fleet: Fleet) -> None:
    crew = b.fleet(member("i-1", 400), member("i-2", 401, lease=600), name="crew")
    quiet = replace(fleet, instances=tuple(_unseen(i) for i in fleet.instances))
    for held in plan(b.observation(crew, quiet, scale_ins_running=frozenset()), 50).fleets:
        assert (held.rule, held.desired, held.scale_in, held.undo) == ("hold", None, None, ())
        assert (held.restart, held.zombies, held.overdue) == ((), (), ())
        assert "the backend seems away" in held.reason


def test_two_that_an_admin_has_put_aside_and_stopped_hold_no_stage() -> None:
    aside = b.fleet(*(member(name, 4000, draining=True) for name in ("i-1", "i-2")), desired=2, name="a")
    waits = b.fleet(queued=3, name="b")
    first, second = plan(b.observation(aside, waits), 50).fleets
    assert (first.rule, first.zombies) == ("steady", ())
    assert (second.rule, second.desired) == ("raise", 2)
    beside = b.fleet(member("i-3", 400), name="b")
    aside = b.fleet(member("i-1", 410, draining=True), name="a")
    assert silence(b.observation(aside, beside)).backend_away, "who has polled until then tells of it all the same"


def _unseen(instance: Instance) -> Instance:
    worker = instance.worker
    return instance if worker is None else replace(instance, worker=replace(worker, seen_at=b.ago(400)))


def test_the_hold_says_how_many_are_silent() -> None:
    crew = b.fleet(member("i-1", 400), member("i-2", 410), member("i-3", 405, lease=60))
    held = plan(b.observation(crew), 50).fleets[0]
    assert "2 of 3 workers" in held.reason
    assert held.reason.endswith("If it answers, they have died: terminate i-1, i-2 by hand")
    assert held.numbers is not None
    assert (held.numbers["silent"], held.numbers["workers"]) == (2, 3)


def test_nobody_overdue_goes_while_nobody_is_heard_of() -> None:
    """Shorter than a hold: whoever cannot be seen for a quarter of the window may be unable to register."""
    late = b.booting("i-3", age=700, lifecycle="InService")
    for seen, expected in ((76, 0), (10, 1)):
        fleet = b.fleet(late, member("i-1", seen, lease=60), member("i-2", seen, lease=60), queued=3, leased=2)
        assert len(plan(b.observation(fleet), 50).fleets[0].overdue) == expected


def test_a_lost_workers_job_is_given_back_as_worker_lost() -> None:
    seen = b.observation(b.fleet(member("i-1", 3600, lease=7200), POLLS))
    (lost,) = plan(seen, 50).losses.requeue
    assert (lost.lease.dispatch_id, lost.reason) == (1, WORKER_LOST)


@pytest.mark.parametrize(
    ("handed_out", "renewed", "seen", "load", "expected"),
    [
        pytest.param(302, 0, 2, 0, True, id="polls on, free as it says, 300 s after a job was handed out"),
        pytest.param(301, 0, 2, 0, False, id="not for so long"),
        pytest.param(400, 0, 200, 0, False, id="silent, perhaps at work"),
        pytest.param(302, 0, 2, 1, False, id="has a job, as it says"),
        pytest.param(302, 1, 2, 0, False, id="a heartbeat has named the job"),
        pytest.param(302, 10, 2, 0, False, id="and many more"),
    ],
)
def test_a_job_that_its_worker_does_not_know_of_is_given_back(
    handed_out: float, renewed: int, seen: float, load: int, expected: bool
) -> None:
    """The answer to its poll was lost. Whether a heartbeat touches `updated_at` is not relied upon."""
    lease = replace(b.lease(expires_in=900 * (1 + renewed) - handed_out), updated_at=b.ago(handed_out))
    worker = b.worker("i-1", seen=seen, load=load, leases=(lease,))
    fleet = b.fleet(Instance("i-1", launched_at=b.ago(9000), worker=worker))
    lost = plan(b.observation(fleet), 50).losses.requeue
    assert [(one.lease, one.reason) for one in lost] == [(lease, WORKER_LOST)] * expected


@pytest.mark.parametrize("other", [75, 3605], ids=["for a quarter of the window", "for the whole of it"])
def test_no_job_is_given_back_while_nobody_is_heard_of(other: float) -> None:
    seen = b.observation(b.fleet(member("i-1", 3600, lease=7200), member("i-2", other)))
    assert plan(seen, 50).losses.requeue == ()


@pytest.mark.parametrize(
    ("seen", "age", "lease", "expected"),
    [
        pytest.param(400, 10, None, Next.WAIT, id="a last chance to be heard of"),
        pytest.param(400, 60, None, Next.TERMINATE, id="not heard of"),
        pytest.param(5, 10, None, Next.RELEASE, id="it polls again: it lives"),
        pytest.param(400, 60, 600, Next.RELEASE, id="it has a job"),
        pytest.param(400, 60, -60, Next.TERMINATE, id="its lease is over"),
    ],
)
def test_a_zombies_drain_is_looked_at_again(seen: float, age: float, lease: float | None, expected: Next) -> None:
    worker = member("i-1", seen, lease=lease, draining=True, drain=b.drain(ZOMBIE, age=age)).worker
    heard = b.ago(age)
    verdict = look(worker, drain_id=100, waiting=3, limit_seconds=60, polled_at=heard, now=b.NOW, others_at=b.ago(1))
    assert verdict.next is expected


@pytest.mark.parametrize(
    ("age", "others", "heard", "expected"),
    [
        pytest.param(150, 147, 150, Next.TERMINATE, id="another has been heard of since the drain"),
        pytest.param(150, 1, 149, Next.WAIT, id="only lately: it may be a moment behind"),
        pytest.param(150, 1, None, Next.WAIT, id="only now"),
        pytest.param(150, 150, None, Next.WAIT, id="nobody is since: the backend may be away, or they work"),
        pytest.param(150, 449, None, Next.WAIT, id="not even those who were heard of when it was drained"),
        pytest.param(630, 700, None, Next.RELEASE, id="nobody is for long"),
        pytest.param(779, 100, 150, Next.TERMINATE, id="one who works is heard of again"),
        pytest.param(150, 450, None, Next.TERMINATE, id="they were silent before: nothing is known of the backend"),
        pytest.param(150, None, None, Next.TERMINATE, id="it is the only one"),
    ],
)
def test_a_zombie_goes_only_while_the_backend_answers_somebody(
    age: float, others: float | None, heard: float | None, expected: Next
) -> None:
    worker = member("i-1", age + 250, draining=True, drain=b.drain(ZOMBIE, age=age)).worker
    last, first = (None if seen is None else b.ago(seen) for seen in (others, heard))
    verdict = look(worker, drain_id=100, waiting=0, limit_seconds=150, polled_at=first, now=b.NOW, others_at=last)
    assert verdict.next is expected


def test_the_first_sign_of_another_is_kept() -> None:
    worker = member("i-1", 400, draining=True, drain=b.drain(ZOMBIE, age=20)).worker
    verdict = look(worker, drain_id=100, waiting=0, limit_seconds=150, polled_at=None, now=b.NOW, others_at=b.ago(3))
    assert (verdict.next, verdict.polled_at) == (Next.WAIT, b.ago(3))
