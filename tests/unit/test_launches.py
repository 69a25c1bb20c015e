"""What became of launches: which failed, why AWS refuses and since when, and whose history is worth a call."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from fleet_control.decide.capacity import capacity
from fleet_control.decide.launches import (
    MOST_BOOTING,
    REFUSALS,
    Ended,
    Launch,
    Registrations,
    advice,
    asking,
    asks_for_history,
    history,
    refusal_code,
)
from fleet_control.decide.model import FailedLaunch, Fleet, Instance, LaunchHistory
from fleet_control.decide.plan import plan
from fleet_control.decide.standing import standings

from lab.cloud.market import REFUSALS as WORDS
from tests.unit import build as b

USER = "At 2026-01-05T12:00:00Z instance i-1 was taken out of service in response to a user request"
LOWER = "an instance was taken out of service in response to a difference between desired and actual capacity"
SPOT = "taken out of service in response to an EC2 instance spot interruption notice"
HEALTH = "taken out of service in response to an EC2 health check indicating it has been terminated or stopped"
DRY = WORDS["InsufficientInstanceCapacity"]


def told(
    fleet: Fleet, *launches: Launch, registered: dict[str, float] | None = None, complete_since: float | None = None
) -> LaunchHistory:
    """`launches` newest first; registrations and the log's beginning in seconds ago."""
    at = {name: b.ago(age) for name, age in (registered or {}).items()}
    known = Registrations(at, None if complete_since is None else b.ago(complete_since))
    return history(launches, fleet, standings(fleet, b.NOW), known, b.NOW)


def gone(name: str, age: float, cause: str = USER, *, lived: float = 660, by_spot: bool = False) -> Launch:
    return Launch(b.ago(age), name, ended=Ended(b.ago(age - lived), cause, by_spot))


def late(name: str, age: float = 700) -> Instance:
    return b.booting(name, age=age, lifecycle="InService")


@pytest.mark.parametrize(
    ("fleet", "launches", "registered", "failed"),
    [
        pytest.param(b.fleet(), [], {}, 0, id="never launched"),
        pytest.param(b.fleet(b.booting("i-1")), [Launch(b.ago(60), "i-1")], {}, 0, id="what boots has not failed"),
        pytest.param(b.fleet(late("i-1")), [Launch(b.ago(700), "i-1")], {}, 1, id="overdue"),
        pytest.param(
            b.fleet(late("i-1")), [Launch(b.ago(700), "i-1")], {"i-1": 100}, 0, id="registered late, row gone"
        ),
        pytest.param(b.fleet(), [gone("i-1", 900)], {}, 1, id="gone unregistered, terminated by its name"),
        pytest.param(b.fleet(), [gone("i-1", 900, HEALTH, lived=30)], {}, 1, id="shut itself down while it booted"),
        pytest.param(b.fleet(), [gone("i-1", 900, SPOT)], {}, 0, id="gone by Spot, as its group says"),
        pytest.param(b.fleet(), [gone("i-1", 900, HEALTH, by_spot=True)], {}, 0, id="gone by Spot, as EC2 says"),
        pytest.param(b.fleet(), [gone("i-1", 900, LOWER)], {}, 0, id="cancelled by a lower desired"),
        pytest.param(b.fleet(), [Launch(b.ago(900), "i-1")], {}, 0, id="detached: neither there nor terminated"),
        pytest.param(b.fleet(), [Launch(b.ago(9), None, DRY)], {}, 0, id="refused by AWS: no instance, no failure"),
        pytest.param(
            b.fleet(late("i-3")),
            [Launch(b.ago(700), "i-3"), gone("i-2", 1500), gone("i-1", 2300)],
            {},
            3,
            id="three in a row",
        ),
        pytest.param(
            b.fleet(), [gone("i-3", 800), gone("i-2", 1500), gone("i-1", 2300)], {"i-2": 1300}, 1, id="since the newest"
        ),
        pytest.param(
            b.fleet(late("i-3")),
            [Launch(b.ago(700), "i-3"), gone("i-2", 900), Launch(b.ago(1000), "i-1")],
            {"i-1": 100},
            2,
            id="launched before the image broke, it registers after two broken launches: they have failed",
        ),
        pytest.param(
            b.fleet(late("i-2")),
            [Launch(b.ago(700), "i-3"), Launch(b.ago(700), "i-2"), Launch(b.ago(700), "i-1")],
            {"i-1": 100},
            0,
            id="one of a burst registers, however late: the image is good",
        ),
        pytest.param(
            b.fleet(),
            [Launch(b.ago(300), "i-4"), gone("i-3", 1100), gone("i-2", 1800), gone("i-1", 2500)],
            {"i-4": 5},
            0,
            id="the image is mended: what was launched of it registers",
        ),
        pytest.param(
            b.fleet(late("i-5")),
            [
                *[Launch(b.ago(700), "i-5"), Launch(b.ago(1000), "i-4")],
                *[gone("i-3", 1100), gone("i-2", 1800), Launch(b.ago(2500), "i-1")],
            ],
            {"i-4": 5, "i-1": 2},
            1,
            id="mended, and broken again: the newest that registered counts by its launch",
        ),
    ],
)
def test_failed_launches_in_a_row(
    fleet: Fleet, launches: list[Launch], registered: dict[str, float], failed: int
) -> None:
    assert told(fleet, *launches, registered=registered).failed_in_a_row == failed


def test_the_breaker_opens_when_the_third_has_failed() -> None:
    found = told(b.fleet(late("i-3")), Launch(b.ago(700), "i-3"), gone("i-2", 1500), gone("i-1", 2300))
    assert found.opened_at == b.ago(100)
    assert found.attempted_at == b.ago(700)


def test_what_was_launched_before_the_log_begins_is_not_judged() -> None:
    assert told(b.fleet(), gone("i-2", 900), gone("i-1", 5000), complete_since=1000).failed_in_a_row == 1


def test_a_blockade_lasts_since_the_first_refusal_in_a_row() -> None:
    refusals = [Launch(b.ago(age), None, DRY) for age in (20, 80, 200)]
    found = told(b.fleet(), *refusals, Launch(b.ago(300), "i-1"), Launch(b.ago(400), None, DRY))
    assert found.refused == FailedLaunch("no_capacity", DRY, b.ago(20))
    assert found.blocked_since == b.ago(200)


def test_a_blockade_stands_where_nobody_may_try_any_more() -> None:
    """AWS itself suspends Launch, most commonly after a day of refusals."""
    refusals = [Launch(b.ago(age), None, DRY) for age in (7200, 9000, 93_600)]
    found = told(b.fleet(desired=2, queued=4, launches_stopped=True), *refusals)
    assert found.refused == FailedLaunch("no_capacity", DRY, b.ago(7200))
    assert found.blocked_since == b.ago(9000)
    assert told(b.fleet(launches_stopped=True)).refused is None


@pytest.mark.parametrize(
    "launches",
    [
        pytest.param([Launch(b.ago(5), "i-1"), Launch(b.ago(20), None, DRY)], id="AWS launches again"),
        pytest.param([Launch(b.ago(4000), None, DRY)], id="nobody has tried for an hour"),
    ],
)
def test_a_blockade_that_is_over(launches: list[Launch]) -> None:
    found = told(b.fleet(), *launches)
    assert (found.refused, found.blocked_since) == (None, None)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (WORDS["InsufficientInstanceCapacity"], "no_capacity"),
        (WORDS["UnfulfillableCapacity"], "no_capacity"),
        ("We currently do not have sufficient g4dn.xlarge capacity in the Availability Zone.", "no_capacity"),
        (WORDS["MaxSpotInstanceCountExceeded"], "quota"),
        (WORDS["VcpuLimitExceeded"], "quota"),
        (WORDS["InvalidAMIID.NotFound"], "image"),
        ("The parameter /bp/staging/ami/face-swap does not exist.", "image"),
        (WORDS["InvalidParameterValue"], "parameter"),
        ("The security group 'sg-1' does not exist. Launching EC2 instance failed.", "parameter"),
        ("The requested configuration is currently not supported.", "parameter"),
        ("You are not authorized to perform this operation.", "permission"),
        ("Client.InternalError: Client error on launch", "permission"),
        ("RequestLimitExceeded: Request limit exceeded.", "throttled"),
        ("Something new.", "unknown"),
    ],
)
def test_a_refusal_is_classified_with_advice(message: str, code: str) -> None:
    assert refusal_code(message) == code
    assert advice(code)


def test_every_class_of_refusal_has_its_own_advice() -> None:
    assert len({one.advice for one in REFUSALS}) == len({one.code for one in REFUSALS}) == len(REFUSALS)


@pytest.mark.parametrize(
    ("fleet", "asks"),
    [
        pytest.param(b.fleet(), False, id="at rest"),
        pytest.param(b.fleet(b.busy("i-1"), leased=1), False, id="as many as desired and wanted"),
        pytest.param(b.fleet(b.booting("i-1"), queued=1), True, id="what boots may end itself"),
        pytest.param(b.fleet(b.idle("i-1"), launches_held=True), True, id="its group may not launch: for how long?"),
        pytest.param(b.fleet(queued=1), True, id="about to launch"),
        pytest.param(b.fleet(desired=1), True, id="short of desired"),
        pytest.param(b.fleet(late("i-1")), True, id="somebody is overdue"),
    ],
)
def test_only_a_fleet_that_launches_is_worth_a_call(fleet: Fleet, asks: bool) -> None:
    assert asks_for_history(fleet, capacity(fleet, b.NOW)) is asks


def test_a_hundred_fleets_that_merely_boot_cost_a_look_a_few_calls_and_all_have_their_turn() -> None:
    fleets = [replace(b.fleet(b.booting(f"i-{n}"), queued=1), name=f"asg-{n}") for n in range(100)]
    short = replace(b.fleet(b.booting("i-short"), desired=2, queued=1), name="asg-short")
    needs = {fleet.name: capacity(fleet, b.NOW) for fleet in [*fleets, short]}
    looks = [asking([*fleets, short], needs, b.NOW + timedelta(seconds=10 * n)) for n in range(400)]
    assert {len(look) for look in looks} == {MOST_BOOTING + 1}
    assert all(short.name in look for look in looks), "who is short of desired never waits"
    assert frozenset.union(*looks) == set(needs)


BLOCKED = LaunchHistory(refused=FailedLaunch("no_capacity", DRY, b.ago(20)), blocked_since=b.ago(200))


def test_a_blocked_fleet_keeps_asking_and_says_why_and_since_when() -> None:
    found = plan(b.observation(b.fleet(desired=2, queued=4, launches=BLOCKED)), 50).fleets[0]
    assert (found.desired, found.blocked_seconds) == (None, 200)
    assert f"capacity blocked for 200 s: {advice('no_capacity')} ({DRY})" in found.reason


def test_a_dry_market_and_an_empty_queue_leave_nothing_desired() -> None:
    found = plan(b.observation(b.fleet(desired=4, launches=BLOCKED)), 50).fleets[0]
    assert (found.desired, found.rule) == (0, "lower")


def test_desired_set_by_hand_far_above_is_taken_back_and_said() -> None:
    found = plan(b.observation(b.fleet(b.busy("i-1"), desired=9, leased=1)), 50).fleets[0]
    assert (found.desired, found.rule) == (1, "reset")
    assert found.reason.endswith("desired 9 is far above that and is taken back to 1")
