"""A fleet's tags: defaults, live tuning, and one bad value that names itself."""

import pytest
from fleet_control.act.asg import Group
from fleet_control.decide.model import HeldFleet, Policy
from fleet_control.flows.policy import read_policy


def group(**tags: str) -> Group:
    named = {f"fleet:{key.replace('_', '-')}": value for key, value in tags.items()}
    everything = {"Stage": "staging", "WorkflowSlug": "face-swap", "fleet:workflows": "face-swap"} | named
    return Group("asg-staging-face-swap", 3, 0, 10, (), everything, frozenset())


def policy(**tags: str) -> Policy:
    found = read_policy(group(**tags))
    assert isinstance(found, Policy)
    return found


def test_absent_tags_mean_the_contracts_defaults() -> None:
    assert policy() == Policy(
        workflows=("face-swap",),
        min_size=0,
        max_size=10,
        backlog_target=2,
        idle_seconds=120,
        scale_to_zero_seconds=900,
        warmup_seconds=300,
        launch_grace_seconds=300,
        silent_seconds=300,
        drain_look_seconds=3,
        drain_limit_seconds=60,
    )


@pytest.mark.parametrize(
    ("tags", "field", "value"),
    [
        pytest.param({"workflows": "a b-2"}, "workflows", ("a", "b-2"), id="one fleet may serve several workflows"),
        pytest.param({"scale_to_zero_minutes": "0.5"}, "scale_to_zero_seconds", 30, id="minutes may have decimals"),
        pytest.param({"backlog_target": "7"}, "backlog_target", 7, id="an operator tunes the backlog target"),
        pytest.param({"owner": "me"}, "backlog_target", 2, id="a tag of somebody else's changes nothing"),
    ],
)
def test_a_tag_tunes_a_live_fleet(tags: dict[str, str], field: str, value: object) -> None:
    assert getattr(policy(**tags), field) == value


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        pytest.param("backlog-target", "0", id="a target of nothing"),
        pytest.param("backlog-target", "many", id="not a number"),
        pytest.param("idle-seconds", "-1", id="a negative window"),
        pytest.param("idle-seconds", "nan", id="not a number that pretends to be one"),
        pytest.param("scale-to-zero-minutes", "inf", id="no end"),
        pytest.param("workflows", "", id="no workflow"),
        pytest.param("workflows", "Face_Swap", id="no slug"),
        pytest.param("drain-limit-seconds", "90", id="longer than the pick-up allows"),
        pytest.param("job-timeout-seconds", "14401", id="longer than a terminate hook can be kept waiting"),
    ],
)
def test_a_bad_tag_holds_its_fleet_and_names_group_tag_and_value(tag: str, value: str) -> None:
    held = read_policy(group(**{tag.replace("-", "_"): value}))
    assert isinstance(held, HeldFleet)
    assert held.desired == 3
    assert held.reason.startswith(f"group asg-staging-face-swap: tag fleet:{tag} = {value!r}: ")
