"""Rebalance: nobody goes until the replacement's worker lives, then one by one, until the group has what it wants."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fleet_control.decide.capacity import capacity
from fleet_control.decide.model import REBALANCE, Fleet, Instance
from fleet_control.decide.plan import plan
from fleet_control.decide.scale_in import Next, decrement, look
from fleet_control.decide.surplus import choose

from tests.unit import build as b


def at_risk(member: Instance) -> Instance:
    return replace(member, rebalance=True)


def older(member: Instance) -> Instance:
    assert member.worker is not None
    return replace(member, worker=replace(member.worker, registered_at=b.ago(9999)))


def who(fleet: Fleet) -> str | None:
    found = choose(fleet, capacity(fleet, b.NOW), b.NOW)
    return f"{found.worker.instance_id} {found.reason}" if found.worker else None


OLD, POOL = at_risk(b.busy("i-1")), tuple(at_risk(b.busy(f"i-{n}")) for n in (1, 2, 3))


@pytest.mark.parametrize(
    ("fleet", "goes"),
    [
        pytest.param(b.fleet(OLD, leased=1, desired=1), None, id="no replacement yet: it serves on"),
        pytest.param(b.fleet(OLD, b.booting("i-9"), leased=1, desired=1), None, id="the replacement boots"),
        pytest.param(
            b.fleet(OLD, b.booting("i-9", lifecycle="InService"), leased=1, desired=1),
            None,
            id="it is in service, its worker is not there yet",
        ),
        pytest.param(b.fleet(OLD, b.silent("i-9"), leased=1, desired=1), None, id="its worker fell silent"),
        pytest.param(b.fleet(OLD, b.idle("i-9", 1), leased=1, desired=1), "i-1 rebalance", id="its worker lives"),
        pytest.param(
            b.fleet(at_risk(b.idle("i-1", 9999)), b.booting("i-9"), desired=1),
            "i-1 scale_to_zero",
            id="nothing is asked for: the last that serves goes after the fleet's quiet, as ever",
        ),
        pytest.param(
            b.fleet(at_risk(b.idle("i-1", 500)), b.booting("i-9"), desired=1),
            None,
            id="not after its own idle window: the other does not serve yet",
        ),
        pytest.param(
            b.fleet(*POOL, b.booting("i-7"), b.booting("i-8"), b.booting("i-9"), leased=6, desired=3),
            None,
            id="a whole pool: none before the first replacement",
        ),
        pytest.param(
            b.fleet(*POOL, b.idle("i-7", 1), b.booting("i-8"), b.booting("i-9"), leased=6, desired=3),
            "i-1 rebalance",
            id="a whole pool: one for one",
        ),
        pytest.param(
            b.fleet(*POOL[1:], b.idle("i-7", 1), b.booting("i-8"), b.booting("i-9"), leased=6, desired=3),
            None,
            id="a whole pool: the second waits for the second replacement",
        ),
        pytest.param(
            b.fleet(*POOL, b.draining("i-4", REBALANCE), b.idle("i-7", 1), b.idle("i-8", 1), leased=6, desired=3),
            None,
            id="a whole pool: one by one",
        ),
        pytest.param(
            b.fleet(*POOL[:2], at_risk(b.idle("i-3", 1)), b.busy("i-7"), leased=6, desired=3),
            "i-3 rebalance",
            id="the idle before the busy",
        ),
        pytest.param(
            b.fleet(b.busy("i-1"), b.busy("i-2"), leased=4, desired=1),
            None,
            id="beyond desired, but wanted: it stays",
        ),
        pytest.param(
            b.fleet(b.busy("i-1"), b.busy("i-2"), leased=2, desired=1),
            "i-1 rebalance",
            id="the recommendation was lost: what is beyond desired goes all the same",
        ),
        pytest.param(
            b.fleet(older(b.busy("i-2")), b.idle("i-1", 9999), leased=1, desired=1),
            "i-2 rebalance",
            id="and it is the oldest, never the replacement",
        ),
        pytest.param(
            b.fleet(*(b.busy(f"i-{n}") for n in range(1, 12)), leased=20, desired=10, max_size=10),
            "i-1 rebalance",
            id="above the maximum: back to it",
        ),
        pytest.param(
            b.fleet(*POOL, b.silent("i-4"), b.busy("i-5"), leased=6, desired=4),
            "i-1 rebalance",
            id="a silent one's slot does not hold up the others",
        ),
        pytest.param(
            b.fleet(b.idle("i-1", 500), at_risk(b.idle("i-2", 200)), b.busy("i-3"), leased=1, desired=3),
            "i-2 idle",
            id="of the idle the one at risk goes first",
        ),
    ],
)
def test_who_is_replaced(fleet: Fleet, goes: str | None) -> None:
    assert who(fleet) == goes


def test_one_that_has_been_replaced_asks_for_no_slot_of_its_own() -> None:
    fleet = b.fleet(b.draining("i-1", REBALANCE, leases=(b.lease(1),)), b.busy("i-9"), leased=2, desired=1)
    assert (capacity(fleet, b.NOW).target, capacity(fleet, b.NOW).rule) == (1, "steady")


def test_it_is_taken_back_before_anything_is_launched() -> None:
    fleet = b.fleet(b.draining("i-1", REBALANCE), b.busy("i-9"), leased=1, queued=3, desired=1)
    needs = capacity(fleet, b.NOW)
    assert ([one.id for one in needs.undo], needs.supply) == (["i-1"], 2)


@pytest.mark.parametrize(("desired", "existing", "lowers"), [(3, 4, False), (3, 3, True)])
def test_beyond_desired_it_goes_without_taking_desired_down(desired: int, existing: int, lowers: bool) -> None:
    assert decrement(desired, existing, 0) is lowers


@pytest.mark.parametrize(
    ("member", "waiting", "verdict"),
    [
        pytest.param(b.draining("i-1", REBALANCE), 5, Next.WAIT, id="waiting jobs are the replacement's"),
        pytest.param(b.draining("i-1", REBALANCE, leases=(b.lease(),)), 0, Next.WAIT, id="it ends its last job"),
        pytest.param(b.draining("i-1", REBALANCE, age=70), 5, Next.TERMINATE, id="refused: it goes"),
        pytest.param(
            b.draining("i-1", REBALANCE, age=800, leases=(b.lease(),)), 0, Next.DONE, id="a long job: another watch"
        ),
        pytest.param(b.draining("i-1", age=70), 5, Next.RELEASE, id="an idle one is released for them"),
    ],
)
def test_its_way_down(member: Instance, waiting: int, verdict: Next) -> None:
    worker = member.worker
    assert worker is not None
    assert worker.drain is not None
    found = look(worker, drain_id=worker.drain.row_id, waiting=waiting, limit_seconds=60, polled_at=None, now=b.NOW)
    assert found.next is verdict


def test_a_whole_pool_converges_one_for_one() -> None:
    """Replacements come alive one after another; each lets one old instance go, and desired never moves."""
    old, fresh, ended = list(POOL), [b.booting(f"i-{n}") for n in (7, 8, 9)], []
    for n in range(3):
        before = b.fleet(*old, *fresh, leased=6, desired=3)
        assert who(before) is None
        fresh[n] = b.busy(f"i-{7 + n}")
        (decided,) = plan(b.observation(b.fleet(*old, *fresh, leased=6, desired=3)), 50).fleets
        assert decided.desired is None
        assert decided.scale_in is not None
        assert decided.scale_in.worker is not None
        assert "replaced" in decided.reason
        ended.append(decided.scale_in.worker.instance_id)
        old.pop(0)
    assert ended == ["i-1", "i-2", "i-3"]
    assert who(b.fleet(*fresh, leased=6, desired=3)) is None
