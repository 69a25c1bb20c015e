"""The stage's plan: limits across fleets, fleets on hold, and a sentence an operator understands."""

import pytest
from fleet_control.decide.model import Fleet, HeldFleet
from fleet_control.decide.plan import FleetPlan, plan

from tests.unit import build as b


def only(fleet: Fleet, limit: int = 50) -> FleetPlan:
    return plan(b.observation(fleet), limit).fleets[0]


@pytest.mark.parametrize(
    ("fleet", "limit", "rule", "reason"),
    [
        pytest.param(
            b.fleet(), 50, "steady", "0 jobs want 0 instances, 0 serve or boot", id="nothing to do says so too"
        ),
        pytest.param(b.fleet(queued=5), 50, "raise", "5 jobs want 3 instances, 0 serve or boot", id="raise"),
        pytest.param(b.fleet(queued=99), 50, "raise", "99 jobs want 10 instances, 0 serve or boot; max 10", id="max"),
        pytest.param(
            b.fleet(queued=9),
            2,
            "raise",
            "9 jobs want 5 instances, 0 serve or boot; stage limit grants 2 of 5",
            id="partly within the stage's limit",
        ),
        pytest.param(
            b.fleet(queued=9),
            0,
            "limit",
            "9 jobs want 5 instances, 0 serve or boot; stage limit grants 0 of 5",
            id="nothing left of the stage's limit",
        ),
        pytest.param(b.fleet(desired=3), 50, "lower", "0 jobs want 0 instances, 0 serve or boot", id="lower"),
        pytest.param(
            b.fleet(b.draining("i-1"), queued=1),
            50,
            "undrain",
            "1 jobs want 1 instances, 1 serve or boot; 1 of our drains undone first",
            id="undrain",
        ),
        pytest.param(
            b.fleet(b.busy("i-1"), b.idle("i-2", 130), leased=1),
            50,
            "scale-in",
            "1 jobs want 1 instances, 2 serve or boot; i-2 idle for 130 s is surplus",
            id="scale-in",
        ),
        pytest.param(
            b.fleet(b.idle("i-1", 60)),
            50,
            "steady",
            "0 jobs want 0 instances, 1 serve or boot; 1 surplus: scale_to_zero window",
            id="surplus that waits says what for",
        ),
    ],
)
def test_every_decision_names_its_rule_and_its_reason(fleet: Fleet, limit: int, rule: str, reason: str) -> None:
    found = only(fleet, limit)
    assert (found.rule, found.reason) == (rule, reason)


def test_the_numbers_of_a_decision_are_in_its_record() -> None:
    found = only(b.fleet(b.idle("i-1"), b.booting("i-2"), queued=5, leased=1, oldest_waiting_at=b.ago(42)))
    assert found.numbers is not None
    wanted = {"queued": 5, "leased": 1, "wanted": 3, "supply": 2, "granted": 3, "desired": 2, "max": 10}
    assert {key: found.numbers[key] for key in wanted} == wanted
    assert found.numbers["oldest_waiting_s"] == 42
    assert (found.numbers["idle"], found.numbers["booting"]) == (1, 1)


def test_a_raise_goes_to_the_fleet_whose_job_has_waited_longest() -> None:
    young = b.fleet(name="a", queued=20, oldest_waiting_at=b.ago(5))
    old = b.fleet(name="b", queued=20, oldest_waiting_at=b.ago(50))
    granted = {p.fleet: p.desired for p in plan(b.observation(young, old), 12).fleets}
    assert granted == {"a": 2, "b": 10}


def test_a_fleet_on_hold_keeps_its_capacity_and_its_share_of_the_limit() -> None:
    held = HeldFleet("broken", "tag fleet:idle-seconds = 'soon'", desired=6)
    decided = plan(b.observation(b.fleet(queued=20), held=(held,)), 10)
    by_name = {p.fleet: p for p in decided.fleets}
    assert by_name[b.GROUP].desired == 4
    assert (by_name["broken"].rule, by_name["broken"].desired) == ("hold", None)
    assert "fleet:idle-seconds" in by_name["broken"].reason


def test_a_limit_lowered_below_what_is_asked_for_is_approached_without_anybody_going() -> None:
    dry = b.fleet(b.busy("i-1"), desired=6, queued=10, leased=1)
    found = plan(b.observation(dry), 3).fleets[0]
    assert (found.rule, found.desired) == ("limit", 3)
    assert "stage limit grants 3 of 6" in found.reason
    full = b.fleet(*(b.busy(f"i-{n}") for n in range(1, 7)), queued=10, leased=6)
    assert plan(b.observation(full), 3).fleets[0].desired is None


def test_az_rebalance_is_suspended_where_it_runs() -> None:
    assert only(b.fleet(az_rebalance_runs=True)).suspend_az_rebalance
    assert not only(b.fleet()).suspend_az_rebalance
