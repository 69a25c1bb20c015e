"""What an operator may write into a group's tags: a policy, or a fleet on hold that says which tag and why."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import pytest
from fleet_control.act.asg import Group
from fleet_control.decide.model import HeldFleet, Policy
from fleet_control.flows.policy import read_policies, read_policy, serving
from fleet_control.flows.reconcile import Ports, Result, reconcile
from hypothesis import given
from hypothesis import strategies as st

from tests.flows.fakes import Stage, ports_of

from .places import STEADY

NAME = "asg-staging-face-swap"
DURATIONS = {
    "fleet:idle-seconds": 86_400,
    "fleet:scale-to-zero-minutes": 1_440,
    "fleet:warmup-seconds": 86_400,
    "fleet:launch-grace-seconds": 86_400,
    "fleet:silent-seconds": 86_400,
    "fleet:drain-look-seconds": 80,
    "fleet:drain-limit-seconds": 80,
    "fleet:job-timeout-seconds": 14_400,
}
"""The longest that each may be."""
NO_NUMBERS = ("", " ", "ten", "1,5", "0x10", "--1", "\u0663", "1 2", "None")
NO_DURATIONS = ("0", "-0.0", "-1", "nan", "NaN", "-nan", "inf", "-Infinity", "1e999", "9" * 200, *NO_NUMBERS)
NO_TARGETS = ("0", "-1", "1001", "1.5", "nan", "inf", "1e3", "9" * 200, *NO_NUMBERS)
NO_WORKFLOWS = ("", " ", "Face-Swap", "face_swap", "-face", "a" * 64, "a,b", "a;b", "f\u0430ce-swap", "a' OR '1'='1")


def group(slugs: str = "face-swap", name: str = NAME, **tags: str) -> Group:
    return Group(name, 3, 0, 10, (), {"Stage": "staging", "fleet:workflows": slugs} | tags, frozenset())


BAD = [
    *((tag, value) for tag in DURATIONS for value in NO_DURATIONS),
    *((tag, f"{longest + 1}") for tag, longest in DURATIONS.items()),
    *(("fleet:backlog-target", value) for value in NO_TARGETS),
    *(("fleet:workflows", value) for value in NO_WORKFLOWS),
]


@pytest.mark.parametrize(("tag", "value"), BAD)
def test_a_value_that_cannot_be_meant_holds_the_fleet_by_group_tag_and_value(tag: str, value: str) -> None:
    held = read_policy(group(**{tag: value}))
    assert isinstance(held, HeldFleet)
    assert (held.name, held.desired) == (NAME, 3)
    assert held.reason.startswith(f"group {NAME}: tag {tag} = {value!r}: ")


@pytest.mark.parametrize(("tag", "longest"), DURATIONS.items())
def test_the_longest_value_is_still_a_policy(tag: str, longest: int) -> None:
    assert isinstance(read_policy(group(**{tag: str(longest), "fleet:backlog-target": "1000"})), Policy)


def test_a_minimum_above_the_maximum_holds_the_fleet_with_both_numbers() -> None:
    held = read_policy(replace(group(), min_size=5, max_size=2))
    assert isinstance(held, HeldFleet)
    assert held.reason == f"group {NAME}: MinSize 5 is above MaxSize 2"


TAGS = st.sampled_from([*DURATIONS, "fleet:backlog-target", "fleet:workflows", "fleet:something-new"])
VALUES = st.one_of(
    st.text(max_size=256), st.floats().map(str), st.integers().map(str), st.sampled_from([*NO_DURATIONS, "a b"])
)


@STEADY
@given(st.dictionaries(TAGS, VALUES))
def test_whatever_tags_say_it_is_a_policy_of_finite_numbers_or_a_hold(tags: dict[str, str]) -> None:
    found = read_policy(group(**tags))
    if isinstance(found, HeldFleet):
        assert found.reason.startswith(f"group {NAME}: tag fleet:")
    else:
        numbers = [value for value in asdict(found).values() if isinstance(value, int | float)]
        assert all(math.isfinite(number) and number >= 0 for number in numbers)
        assert len(set(found.workflows)) == len(found.workflows) > 0


def test_of_two_groups_that_claim_a_workflow_the_second_is_held_naming_both() -> None:
    first, second = group("x y", "asg-staging-a"), group("z y", "asg-staging-b")
    (_, serves), (_, held) = read_policies([second, first])
    assert isinstance(serves, Policy)
    assert isinstance(held, HeldFleet)
    assert (
        held.reason == "group asg-staging-b: tag fleet:workflows = 'z y': group asg-staging-a serves workflow y already"
    )


def test_a_group_on_hold_claims_nothing() -> None:
    bad = group("x", "asg-staging-a", **{"fleet:idle-seconds": "nan"})
    rival, third = group("x y", "asg-staging-b"), group("y", "asg-staging-c")
    found = {one.name: isinstance(policy, Policy) for one, policy in read_policies([bad, rival, third])}
    assert found == {"asg-staging-a": False, "asg-staging-b": True, "asg-staging-c": False}


def test_the_fleet_of_a_workflow_is_the_one_that_serves_it() -> None:
    bad, good = group("x", "asg-staging-a", **{"fleet:idle-seconds": "nan"}), group("x", "asg-staging-b")
    found = serving([bad, good], "x")
    assert found is not None
    assert found[0] is good
    alone = serving([bad], "x")
    assert alone is not None
    assert isinstance(alone[1], HeldFleet)
    assert serving([bad, good], "y") is None


def look(stage: Stage) -> Result:
    return reconcile(ports_of(stage, Ports, worker_limit=50), trigger="Tick")


def test_jobs_claimed_by_two_groups_launch_once() -> None:
    stage = Stage()
    first = stage.fleet("face-swap")
    stage.fleet("image-to-video", workflows="image-to-video face-swap")
    for _ in range(4):
        stage.job("face-swap")
    assert look(stage).held == 1
    assert stage.made("set_desired") == [(first, 2)]


def test_a_workflow_named_twice_in_one_tag_counts_once() -> None:
    stage = Stage()
    fleet = stage.fleet("face-swap", workflows="face-swap face-swap")
    for _ in range(4):
        stage.job("face-swap")
    look(stage)
    assert stage.made("set_desired") == [(fleet, 2)]


def test_a_group_whose_bounds_are_crossed_is_held_and_its_neighbour_scales() -> None:
    stage = Stage()
    crossed, other = stage.fleet("face-swap"), stage.fleet("image-to-video")
    stage.groups[crossed] = replace(stage.groups[crossed], min_size=3, max_size=2)
    stage.job("face-swap")
    stage.job("image-to-video")
    assert look(stage).held == 1
    assert stage.made("set_desired") == [(other, 1)]


def test_a_workflow_without_a_row_is_named_and_the_fleet_serves_the_others() -> None:
    stage = Stage()
    fleet = stage.fleet("face-swap", workflows="face-swap fcae-swap")
    stage.job("face-swap")
    result = look(stage)
    assert (result.held, result.unknown_workflows) == (0, 1)
    assert stage.made("set_desired") == [(fleet, 1)]
    assert stage.recorder.decisions[-1]["reason"].endswith("; no workflow is named fcae-swap")


def test_a_misspelt_tag_is_named_and_counted_and_holds_nothing() -> None:
    stage = Stage()
    fleet = stage.fleet("face-swap", backlog_targt="1", idle_seconds="60")
    stage.job("face-swap")
    result = look(stage)
    assert (result.held, result.unknown_tags) == (0, 1)
    assert stage.made("set_desired") == [(fleet, 1)]
    assert stage.recorder.decisions[-1]["reason"].endswith("; no policy is read from fleet:backlog-targt")
