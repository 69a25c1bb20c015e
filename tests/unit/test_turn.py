"""How much one look changes, and that what waits its turn is neither lost nor always the same."""

from dataclasses import fields, replace
from datetime import timedelta

import pytest
from fleet_control.decide.hook import Answer
from fleet_control.decide.losses import Losses, Requeue
from fleet_control.decide.model import Worker
from fleet_control.decide.overdue import Overdue
from fleet_control.decide.plan import FleetPlan, Plan
from fleet_control.decide.surplus import ScaleIn
from fleet_control.decide.turn import LOSSES, MOST, Turn, in_turn

from tests.unit import build as b

NOTHING = Losses()
TOLD = {"fleet", "rule", "reason", "numbers", "blocked_seconds", "breaker_open", "bounded"}
"""What a fleet's plan says beside what it does."""


def crew(count: int) -> tuple[Worker, ...]:
    return tuple(b.worker(f"i-{number}") for number in range(1, count + 1))


def everything(count: int) -> Plan:
    """That many changes of each kind."""
    one = FleetPlan(
        "", "steady", "as it was", desired=3, suspend_az_rebalance=True, hold_launches=True, resume_launches=True
    )
    fleets = tuple(
        replace(
            one,
            fleet=f"asg-{w.instance_id}",
            undo=(w,),
            restart=(w,),
            scale_in=ScaleIn(w, "idle"),
            zombies=(w,),
            hooks=(Answer(w.instance_id, goes=True, reason="no worker"),),
            overdue=(Overdue(w.instance_id, f"{w.instance_id}-overdue-0", replace=True),),
        )
        for w in crew(count)
    )
    gone = crew(count)
    lost = tuple(Requeue(b.lease(number, holder="i-0"), "instance_terminated") for number in range(count))
    return Plan(fleets, Losses(lost, gone))


def made(turn: Turn) -> dict[str, int]:
    plan = turn.plan
    counts = {"requeue": len(plan.losses.requeue), "remove": len(plan.losses.remove)}
    several = ("undo", "restart", "zombies", "hooks", "overdue")
    counts |= {kind: sum(len(getattr(one, kind)) for one in plan.fleets) for kind in several}
    counts |= {kind: sum(getattr(one, kind) is not None for one in plan.fleets) for kind in ("desired", "scale_in")}
    flags = ("suspend_az_rebalance", "hold_launches", "resume_launches")
    return counts | {kind: sum(getattr(one, kind) for one in plan.fleets) for kind in flags}


def test_every_change_that_a_plan_can_hold_has_its_bound() -> None:
    assert {f.name for f in fields(Losses)} == LOSSES
    assert {f.name for f in fields(FleetPlan)} - TOLD == MOST.keys() - LOSSES


def test_a_plan_within_the_bounds_is_done_as_it_is() -> None:
    assert in_turn(everything(10), b.NOW) == Turn(everything(10))


def test_no_look_does_more_of_a_kind_and_it_says_what_it_leaves() -> None:
    turn = in_turn(everything(500), b.NOW)
    assert made(turn) == dict(MOST)
    assert turn.put_off == {kind: 500 - most for kind, most in MOST.items()}
    assert "scale_in 480 (at most 20 a look)" in turn.reason


def test_a_fleet_whose_change_waits_says_so_itself() -> None:
    plans = in_turn(everything(500), b.NOW).plan.fleets
    waits = [one for one in plans if one.scale_in is None]
    assert all("put off to the next look: " in one.reason and "scale in (1 of 1)" in one.reason for one in waits)
    assert all("scale in" not in one.reason for one in plans if one.scale_in is not None)


def test_the_same_instant_gives_the_same_turn_and_another_one_another() -> None:
    assert in_turn(everything(100), b.NOW) == in_turn(everything(100), b.NOW)
    assert in_turn(everything(100), b.NOW) != in_turn(everything(100), b.NOW + timedelta(seconds=10))


def test_what_fails_at_every_look_keeps_nobody_waiting_for_ever() -> None:
    """Nothing ever succeeds here, so every look sees the same plan."""
    looks = [in_turn(everything(100), b.NOW + timedelta(seconds=10 * look)).plan.fleets for look in range(40)]
    assert {one.fleet for fleets in looks for one in fleets if one.scale_in} == {
        p.fleet for p in everything(100).fleets
    }


def test_no_group_may_launch_again_before_its_desired_capacity_is_set() -> None:
    turns = [in_turn(everything(500), b.NOW + timedelta(seconds=10 * look)) for look in range(20)]
    resumed = [one for turn in turns for one in turn.plan.fleets if one.resume_launches]
    assert len(resumed) == 20 * MOST["resume_launches"]
    assert all(one.desired == 3 for one in resumed)


@pytest.mark.parametrize("held", [1, 3])
def test_a_row_stays_until_all_its_jobs_are_given_back(held: int) -> None:
    gone = crew(200)
    lost = [Requeue(b.lease(n, holder=w.instance_id), "instance_terminated") for n in range(held) for w in gone]
    turn = in_turn(Plan((), Losses(tuple(lost), gone)), b.NOW)
    given = set(turn.plan.losses.requeue)
    left = {one.lease.worker_id for one in lost if one not in given}
    assert not {worker.instance_id for worker in turn.plan.losses.remove} & left
    assert turn.put_off["remove"] == 200 - len(turn.plan.losses.remove)
