"""Resources of the templates that moto's CloudFormation does not know: made here, or left out for a stated reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from moto.autoscaling.models import autoscaling_backends
from moto.cloudwatch.models import cloudwatch_backends
from moto.sns.models import sns_backends

from lab.cloud.names import ACCOUNT, REGION

Properties = dict[str, Any]


def make_alarm(properties: Properties) -> None:
    if properties.get("Metrics"):
        # Metric math is not evaluated here; the alarm stays in its first state, visible but silent.
        properties = {**properties, "MetricName": None, "Namespace": None}
    cloudwatch_backends[ACCOUNT][REGION].put_metric_alarm(
        name=properties["AlarmName"],
        description=properties.get("AlarmDescription", ""),
        namespace=properties.get("Namespace"),
        metric_name=properties.get("MetricName"),
        dimensions=properties.get("Dimensions", []),
        statistic=properties.get("Statistic"),
        period=int(properties.get("Period", 60)),
        threshold=float(properties.get("Threshold", 0)),
        comparison_operator=properties["ComparisonOperator"],
        evaluation_periods=int(properties["EvaluationPeriods"]),
        datapoints_to_alarm=int(properties.get("DatapointsToAlarm") or properties["EvaluationPeriods"]),
        treat_missing_data=properties.get("TreatMissingData", "missing"),
        alarm_actions=properties.get("AlarmActions", []),
        ok_actions=properties.get("OKActions", []),
        insufficient_data_actions=properties.get("InsufficientDataActions", []),
        actions_enabled=properties.get("ActionsEnabled", True),
    )


def make_subscription(properties: Properties) -> None:
    sns_backends[ACCOUNT][REGION].subscribe(properties["TopicArn"], properties["Endpoint"], properties["Protocol"])


def make_hook(properties: Properties) -> None:
    autoscaling_backends[ACCOUNT][REGION].create_lifecycle_hook(
        name=properties["LifecycleHookName"],
        as_name=properties["AutoScalingGroupName"],
        transition=properties["LifecycleTransition"],
        timeout=int(properties.get("HeartbeatTimeout", 3600)),
        result=properties.get("DefaultResult", "ABANDON"),
    )


def complete_group(properties: Properties) -> None:
    """What moto's CloudFormation leaves out of a group that it makes."""
    name = properties["AutoScalingGroupName"]
    group = autoscaling_backends[ACCOUNT][REGION].autoscaling_groups[name]
    group.capacity_rebalance = str(properties.get("CapacityRebalance", False)).lower() == "true"
    for hook in properties.get("LifecycleHookSpecificationList", []):
        make_hook({**hook, "AutoScalingGroupName": name})


SUPPLIED: dict[str, Callable[[Properties], None]] = {
    "AWS::CloudWatch::Alarm": make_alarm,
    "AWS::SNS::Subscription": make_subscription,
    "AWS::AutoScaling::LifecycleHook": make_hook,
}
COMPLETED: dict[str, Callable[[Properties], None]] = {"AWS::AutoScaling::AutoScalingGroup": complete_group}
"""Made by moto, and completed here."""

SKIPPED = {
    "AWS::Lambda::LayerVersion": "functions run from their folders, with the layers' folders on their path",
    "AWS::Lambda::EventInvokeConfig": "read by the lab's Lambda service, which retries and delivers failures itself",
    "AWS::Lambda::EventSourceMapping": "read by the lab, which polls the queue and calls the function itself",
    "AWS::SNS::TopicPolicy": "moto does not enforce resource policies",
    "AWS::SQS::QueuePolicy": "moto does not enforce resource policies",
}


PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


def is_custom(kind: str) -> bool:
    return kind.startswith("Custom::") or kind == "AWS::CloudFormation::CustomResource"


def for_moto(template: dict[str, Any]) -> dict[str, Any]:
    """The template without what is made or skipped here, and without the layers that functions refer to."""
    absent = SUPPLIED.keys() | SKIPPED.keys()
    resources = template["Resources"].items()
    kept = {name: _adapted(r) for name, r in resources if r["Type"] not in absent and not is_custom(r["Type"])}
    return {**template, "Resources": kept}


def _adapted(resource: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in resource.items() if key not in ("Metadata", "DependsOn")}
    if resource["Type"] == "AWS::Lambda::Function":
        kept["Properties"] = {key: value for key, value in resource["Properties"].items() if key != "Layers"}
    if resource["Type"] == "AWS::StepFunctions::StateMachine":
        text, values = resource["Properties"]["DefinitionString"]["Fn::Sub"]
        kept["Properties"] = {**resource["Properties"], "DefinitionString": substituted(text, values)}
    return kept


def substituted(text: str, values: dict[str, Any]) -> dict[str, Any]:
    """A definition with its substitutions as Fn::Join: moto's Fn::Sub would make `$$.Execution` into `$.Execution`."""
    parts: list[Any] = PLACEHOLDER.split(text)
    parts[1::2] = [values[name] for name in parts[1::2]]
    return {"Fn::Join": ["", parts]}
