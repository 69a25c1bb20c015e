"""The stack of `ami_rollout`: what starts it, what finds a lost start, and who is told when a rollout stops."""

from __future__ import annotations

from typing import Any

import pytest
from fleet_control.decide.rollout import PERIOD_SECONDS

from lab.render import Template

from .conftest import properties_of, resolved

LOST = "arn:aws:sqs:us-east-1:123456789012:bp-staging-undelivered-events"


@pytest.fixture(scope="module")
def stack(stacks: dict[str, Template]) -> Template:
    return stacks["AmiRollout"]


def rules(stack: Template) -> dict[str, dict[str, Any]]:
    found = properties_of(stack, "AWS::Events::Rule").values()
    return {"event" if "EventPattern" in rule else "schedule": rule for rule in found}


@pytest.mark.parametrize("stage", ["staging", "production"])
def test_only_an_update_of_an_image_of_the_stage_starts_it(stage: str) -> None:
    rule = rules(resolved(Stage=stage)["AmiRollout"])["event"]
    assert rule["EventPattern"] == {
        "source": ["aws.ssm"],
        "detail-type": ["Parameter Store Change"],
        "detail": {"operation": ["Update"], "name": [{"prefix": f"/bp/{stage}/ami/"}]},
    }


def test_a_lost_event_or_a_dead_execution_is_found_within_90_s(stack: Template) -> None:
    rule = rules(stack)["schedule"]
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    assert 60 + PERIOD_SECONDS <= 90
    assert [target["Input"] for target in rule["Targets"]] == ['{"step": "survey"}']


def test_what_cannot_be_delivered_is_kept(stack: Template) -> None:
    targets = [target for rule in rules(stack).values() for target in rule["Targets"]]
    assert {target["Arn"].rsplit(":", 1)[-1] for target in targets} == {"bp-staging-ami-rollout"}
    assert [target["DeadLetterConfig"] for target in targets] == [{"Arn": LOST}] * 2


def test_the_parameter_it_listens_to_is_the_one_that_fleets_launch_from(stacks: dict[str, Template]) -> None:
    prefix = rules(stacks["AmiRollout"])["event"]["EventPattern"]["detail"]["name"][0]["prefix"]
    (template,) = properties_of(stacks["Fleetfaceswap"], "AWS::EC2::LaunchTemplate").values()
    assert template["LaunchTemplateData"]["ImageId"] == f"resolve:ssm:{prefix}face-swap"


def test_a_rollout_that_stops_wakes_the_operators_at_once(stack: Template) -> None:
    (alarm,) = properties_of(stack, "AWS::CloudWatch::Alarm").values()
    assert (alarm["AlarmName"], alarm["MetricName"]) == ("bp-staging-ami-rollout-stopped", "ExecutionsFailed")
    assert alarm["Dimensions"][0]["Value"].endswith(":stateMachine:bp-staging-ami-rollout")
    assert (alarm["Threshold"], alarm["EvaluationPeriods"]) == (1, 1)
    assert alarm["AlarmActions"] == ["arn:aws:sns:us-east-1:123456789012:bp-staging-ops-alerts"]


def test_its_function_has_the_settings_that_the_others_have_from_the_application(stacks: dict[str, Template]) -> None:
    """A nested stack gets no Globals, so they are written out there a second time."""
    (rollout,) = properties_of(stacks["AmiRollout"], "AWS::Lambda::Function").values()
    usual = stacks[""]["PublishMetricsFunction"]["Properties"]
    own = {"SCALE_IN_MACHINE_ARN", "AMI_ROLLOUT_MACHINE_ARN"}
    variables = rollout["Environment"]["Variables"]
    assert {name: value for name, value in variables.items() if name not in own} == usual["Environment"]["Variables"]
    assert own <= variables.keys()
    for key in ("Runtime", "Handler", "Architectures", "MemorySize", "Timeout", "VpcConfig"):
        assert rollout[key] == usual[key]
