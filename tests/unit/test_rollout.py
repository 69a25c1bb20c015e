"""A new image, look by look: who is replaced, what is waited for, when the image is given up."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from fleet_control.decide.capacity import capacity
from fleet_control.decide.model import AMI_ROLLOUT, Fleet, Instance
from fleet_control.decide.pickup import abandoned_drains
from fleet_control.decide.rollout import Image, Launched, Next, Scene, Step, execution_name, is_taken, outdated, step
from fleet_control.decide.scale_in import Next as ScaleIn
from fleet_control.decide.scale_in import look

from tests.unit import build as b

OLD, NEW = "ami-old", "ami-new"
DEADLINE = 600


def image(version: int = 2, age: float = 60) -> Image:
    return Image(NEW, version, b.ago(age))


def launched(name: str, ami: str = OLD, age: float = 4000, **values: Any) -> Launched:
    return Launched(name, ami, b.ago(age), **{"registered": True, **values})


def late(name: str = "i-9", **values: Any) -> Launched:
    """Launched from the new image a deadline ago, and never heard of."""
    return launched(name, NEW, DEADLINE, **{"registered": False, **values})


def gone(lasted: float, **values: Any) -> Launched:
    return late(gone=True, ended_at=b.ago(DEADLINE - lasted), **values)


def scene(fleet: Fleet, *new: str, others: tuple[Launched, ...] = ()) -> Scene:
    """`new` are those that run the new image; `others` are remembered by EC2 only, or in the place of a member's."""
    names = {one.id for one in others}
    members = [launched(i.id, NEW if i.id in new else OLD) for i in fleet.instances if i.id not in names]
    return Scene(fleet, image(), (*members, *others))


def look_at(found: Scene, version: int = 2) -> Step:
    return step(found, version, b.NOW)


def three(*first: Instance, **values: Any) -> Fleet:
    """Three are wanted; the rest is idle, i-3 for the longest."""
    rest = [b.idle(name, seconds) for name, seconds in (("i-1", 10), ("i-2", 20), ("i-3", 30))]
    kept = [one for one in rest if one.id not in {other.id for other in first}]
    return b.fleet(*first, *kept, **{"min_size": 3, **values})


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(scene(three()), "i-3", id="all old and idle: the longest idle goes first"),
        pytest.param(scene(three(), "i-3"), "i-2", id="one replaced, its worker lives: the next one"),
        pytest.param(scene(three(b.busy("i-3"), b.busy("i-2"))), "i-1", id="never one that works"),
        pytest.param(scene(three(b.busy("i-1"), queued=5)), "i-3", id="jobs wait, but others serve them meanwhile"),
        pytest.param(scene(three(), others=(gone(30),)), "i-3", id="a replacement that was cancelled says nothing"),
        pytest.param(
            scene(three(), others=(late(taken_by_spot=True, gone=True, ended_at=b.NOW),)),
            "i-3",
            id="nor does one that Spot took before it had registered",
        ),
        pytest.param(scene(three(), others=(gone(DEADLINE, registered=True),)), "i-3", id="nor one that did register"),
        pytest.param(scene(b.fleet(b.idle("i-1"), min_size=1)), "i-1", id="the only one, when one is always wanted"),
        pytest.param(scene(three(b.drained_by_admin("i-3"))), "i-2", id="an admin's instance is left to the admin"),
    ],
)
def test_who_is_replaced(found: Scene, expected: str) -> None:
    decided = look_at(found)
    assert (decided.next, decided.worker and decided.worker.instance_id) == (Next.REPLACE, expected), decided.reason


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        pytest.param(scene(three(b.draining("i-1", AMI_ROLLOUT))), "i-1 is on its way out", id="ours is on its way"),
        pytest.param(scene(three(b.draining("i-1"))), "i-1 is on its way out", id="a scale-in is on its way"),
        pytest.param(scene(three(b.interrupted("i-1"))), "i-1 is interrupted", id="Spot has taken one"),
        pytest.param(scene(three(b.going("i-1"), desired=3)), "i-1 is terminating", id="one is leaving"),
        pytest.param(scene(three(b.silent("i-1"))), "i-1 is silent", id="one is silent: whose fault is not known"),
        pytest.param(
            scene(three(b.booting("i-1")), others=(launched("i-1", NEW, 60, registered=False),)),
            "i-1 is booting",
            id="the replacement boots",
        ),
        pytest.param(
            scene(three(b.booting("i-1", age=DEADLINE)), others=(launched("i-1", OLD, DEADLINE, registered=False),)),
            "i-1 is overdue",
            id="an old one never registered: reconcile replaces it",
        ),
        pytest.param(
            scene(three(desired=4)), "1 instances are still to be launched", id="the group is about to launch"
        ),
        pytest.param(
            scene(b.fleet(b.idle("i-1"), b.idle("i-2"), min_size=3)),
            "1 instances are still to be launched",
            id="reconcile is about to raise",
        ),
        pytest.param(
            Scene(three(), image(), (launched("i-1"), launched("i-2"))), "EC2 does not know i-3 yet", id="EC2 lags"
        ),
        pytest.param(
            scene(three(b.busy("i-1"), b.busy("i-2"), b.busy("i-3"))),
            "all that run an older image are at work",
            id="all work",
        ),
        pytest.param(
            scene(b.fleet(b.idle("i-1"), queued=2)),
            "the only one that serves, and 2 jobs wait",
            id="the only one that serves",
        ),
        pytest.param(scene(b.fleet(b.idle("i-1"))), "the last one, kept for the next job", id="the last warm one"),
        pytest.param(scene(b.fleet(desired=1)), "its group is about to launch", id="the replacement is still to come"),
    ],
)
def test_what_is_waited_for(found: Scene, reason: str) -> None:
    decided = look_at(found)
    assert decided.next is Next.WAIT
    assert reason in decided.reason


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(scene(three(b.booting("i-1", age=DEADLINE)), others=(late("i-1"),)), id="it is still there"),
        pytest.param(scene(three(), others=(gone(DEADLINE),)), id="reconcile has replaced it meanwhile"),
        pytest.param(scene(three(), others=(late(gone=True),)), id="it is gone, EC2 does not say since when"),
        pytest.param(scene(three(b.draining("i-1", AMI_ROLLOUT)), others=(late(),)), id="whatever else is under way"),
        pytest.param(scene(three(), "i-1", "i-2", "i-3", others=(late(),)), id="even if it was the last one"),
    ],
)
def test_the_first_that_does_not_register_stops_the_rollout(found: Scene) -> None:
    decided = look_at(found)
    assert decided.next is Next.STOP
    assert "runs ami-new and did not register within 600 s" in decided.reason
    assert decided.worker is None


@pytest.mark.parametrize(
    ("found", "version", "reason"),
    [
        pytest.param(scene(b.fleet()), 2, "at zero", id="a fleet at zero has nothing to replace"),
        pytest.param(scene(three(), "i-1", "i-2", "i-3"), 2, "all run the image", id="the whole fleet runs it"),
        pytest.param(scene(three()), 1, "version 2 of the image", id="a newer version has come: it has its own"),
        pytest.param(
            scene(three(b.drained_by_admin("i-1")), "i-2", "i-3"), 2, "only i-1 is left", id="an admin keeps the last"
        ),
    ],
)
def test_when_it_is_done(found: Scene, version: int, reason: str) -> None:
    decided = look_at(found, version)
    assert decided.next is Next.DONE
    assert reason in decided.reason


def test_a_decision_carries_its_numbers() -> None:
    assert look_at(scene(three(queued=1), "i-2")).numbers == {
        "image": NEW,
        "version": 2,
        "existing": 3,
        "old": 2,
        "desired": 3,
        "wanted": 3,
        "queued": 1,
    }


def test_an_event_twice_is_one_execution_and_a_dead_one_has_a_successor() -> None:
    names = [execution_name(b.GROUP, image(age=age), b.NOW) for age in (0, 9, 29, 30)]
    assert names == [f"{b.GROUP}-v2-0"] * 3 + [f"{b.GROUP}-v2-1"]


@pytest.mark.parametrize(
    ("execution", "expected"),
    [
        (f"{b.GROUP}-v2-7", True),
        (f"{b.GROUP}-v1-7", False),
        (f"{b.GROUP}-v22-7", False),
        (f"{b.GROUP}-v2-hd-v2-7", False),
    ],
)
def test_an_execution_is_known_by_fleet_and_version(execution: str, expected: bool) -> None:
    assert is_taken(b.GROUP, image(), frozenset({execution})) is expected


@pytest.mark.parametrize(
    ("members", "known", "expected"),
    [
        ((b.idle("i-1"),), (launched("i-1"),), True),
        ((b.idle("i-1"),), (launched("i-1", NEW),), False),
        ((b.idle("i-1"),), (), False),
        ((b.going("i-1"),), (launched("i-1"),), False),
        ((), (launched("i-1", gone=True),), False),
    ],
    ids=["runs an older one", "runs it", "not known yet", "is leaving", "is gone"],
)
def test_a_fleet_is_outdated_by_what_it_holds(
    members: tuple[Instance, ...], known: tuple[Launched, ...], expected: bool
) -> None:
    assert outdated(members, known, image()) is expected


@pytest.mark.parametrize(
    ("waiting", "leases", "expected"),
    [(3, (), ScaleIn.TERMINATE), (0, (b.lease(),), ScaleIn.RELEASE)],
    ids=["jobs wait: it goes all the same", "a job slipped in: it is finished"],
)
def test_the_way_out_of_an_old_image(waiting: int, leases: Any, expected: ScaleIn) -> None:
    worker = b.worker(seen=3, draining=True, drain=b.drain(AMI_ROLLOUT, age=10), leases=leases)
    polled: datetime = b.ago(6)
    found = look(worker, drain_id=100, waiting=waiting, limit_seconds=60, polled_at=polled, now=b.NOW)
    assert found.next is expected


def test_what_goes_for_its_image_is_replaced_and_not_called_back() -> None:
    fleet = three(b.draining("i-1", AMI_ROLLOUT), queued=6)
    needs = capacity(fleet, b.NOW)
    assert (needs.undo, needs.holding, needs.desired) == ((), 1, 4)


def test_a_drain_for_an_image_whose_execution_is_gone_is_picked_up() -> None:
    fleet = three(b.draining("i-1", AMI_ROLLOUT, age=100))
    assert [worker.instance_id for worker in abandoned_drains(fleet, (), frozenset(), b.NOW)] == ["i-1"]
