"""The judge at the end of a demo: it can fail, and what it finds ends the demo with an error."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from lab import demo, observer, performance
from lab.iam.judge import judge
from lab.iam.roles import Stacks

HARMLESS = {"service": "autoscaling", "operation": "DescribeAutoScalingGroups", "request": {}}
UNKNOWN = HARMLESS | {"operation": "DeleteTags"}
LOWERED = {
    "service": "autoscaling",
    "operation": "SetDesiredCapacity",
    "request": {"AutoScalingGroupName": "asg-staging-face-swap"},
}


def call(name: str, **what: Any) -> dict[str, Any]:
    return {"t": 1.0, "kind": "aws_call", "caller": f"bp-staging-{name}", "region": "us-east-1", "error": None, **what}


def test_calls_within_the_policies_are_counted_and_pass(stacks: Stacks) -> None:
    verdict = judge([call("reconcile", **HARMLESS), call("reconcile", **LOWERED)], stacks)
    assert (verdict.judged, verdict.refused) == (2, ())


def test_a_call_that_no_policy_allows_is_told_once_with_its_number(stacks: Stacks) -> None:
    verdict = judge([call("scale-in", **LOWERED), call("scale-in", **LOWERED), call("reconcile", **LOWERED)], stacks)
    [sentence] = verdict.refused
    assert sentence.startswith("no policy of ScaleInFunctionRole allows autoscaling:SetDesiredCapacity on arn:aws:auto")
    assert sentence.endswith("asg-staging-face-swap (2 times)")


def test_a_call_that_aws_itself_made_with_a_role_is_judged_like_any(stacks: Stacks) -> None:
    other = "arn:aws:lambda:us-east-1:123456789012:function:bp-staging-reconcile"
    role = "arn:aws:iam::123456789012:role/bp-staging-ScaleInMachineRole-ABCDEFGHIJ12"
    entry = {"t": 1.0, "kind": "service_call", "service": "lambda", "operation": "Invoke", "role": role}
    [sentence] = judge([entry | {"request": {"FunctionName": other}}], stacks).refused
    assert "no policy of ScaleInMachineRole allows lambda:InvokeFunction" in sentence


def test_a_policy_that_is_taken_away_is_missed(stacks: Stacks) -> None:
    less = copy.deepcopy(dict(stacks[""]))
    less["ReconcileFunctionRole"]["Properties"]["Policies"] = []
    [sentence] = judge([call("reconcile", **HARMLESS)], {**stacks, "": less}).refused
    assert "autoscaling:DescribeAutoScalingGroups on *" in sentence


@pytest.mark.parametrize(
    ("journal", "named"),
    [
        pytest.param([call("reconcile", **UNKNOWN)], "DeleteTags", id="an unknown operation"),
        pytest.param([call("stranger", **HARMLESS)], "bp-staging-stranger", id="a function without a role"),
        pytest.param([], "none was recorded", id="no call at all"),
    ],
)
def test_what_cannot_be_judged_counts_as_refused(stacks: Stacks, journal: list[dict[str, Any]], named: str) -> None:
    verdict = judge(journal, stacks)
    assert verdict.judged == 0
    assert named in verdict.refused[0]


def test_a_refused_call_ends_the_demo_with_an_error(
    stacks: Stacks, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def performed(_: performance.Options) -> dict[str, Any]:
        summary: dict[str, Any] = {"broken": [], "aims_missed": []}
        observer.add_calls(summary, judge([call("scale-in", **LOWERED)], stacks))
        return summary

    monkeypatch.setattr(performance, "perform", performed)
    monkeypatch.setattr("signal.signal", lambda *_: None)  # this process keeps its own
    assert demo.main(["--run", str(tmp_path)]) == 1
    assert "BROKEN: no policy of ScaleInFunctionRole allows" in capsys.readouterr().out
