"""Resources of the templates that moto's CloudFormation does not know: made here, or left out for a stated reason."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from moto.autoscaling.models import autoscaling_backends
from moto.cloudwatch.models import cloudwatch_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.sns.models import sns_backends

from lab.cloud import standins
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


def attach_secret(properties: Properties, database: Mapping[str, Any]) -> None:
    """Host and port of the database into the secret; into the master's its password, too: it was made before."""
    secrets, secret_id = secretsmanager_backends[ACCOUNT][REGION], properties["SecretId"]
    held = json.loads(secrets.get_secret_value(secret_id, None, None)["SecretString"])
    known = ("engine", "host", "port", *(["password"] if held["username"] == database["username"] else []))
    secrets.put_secret_value(secret_id, json.dumps(held | {key: database[key] for key in known}), None, None, None)


ATTACHMENT = "AWS::SecretsManager::SecretTargetAttachment"
SUPPLIED: dict[str, Callable[[Properties], None]] = {
    "AWS::CloudWatch::Alarm": make_alarm,
    "AWS::SNS::Subscription": make_subscription,
    "AWS::AutoScaling::LifecycleHook": make_hook,
}
COMPLETED: dict[str, Callable[[Properties], None]] = {"AWS::AutoScaling::AutoScalingGroup": complete_group}
"""Made by moto, and completed here."""

SKIPPED = {
    "AWS::Lambda::EventInvokeConfig": "read by the lab's Lambda service, which retries and delivers failures itself",
    "AWS::Lambda::EventSourceMapping": "read by the lab, which polls the queue and calls the function itself",
    "AWS::SNS::TopicPolicy": "moto does not enforce resource policies",
    "AWS::SQS::QueuePolicy": "moto does not enforce resource policies",
    "AWS::S3::BucketPolicy": "moto does not enforce resource policies",
    "AWS::ApplicationAutoScaling::ScalingPolicy": "nothing runs in the lab's cluster",
    "AWS::Budgets::Budget": "nothing is paid for",
    "AWS::Logs::QueryDefinition": "the functions' logs are files of the run",
}


STOOD_IN = frozenset({model.cloudformation_type() for model in standins.MODELS})
"""Types of which only a name and attributes are made (secrets: in full), so that references to them resolve."""

LAYER = "AWS::Lambda::LayerVersion"
LEFT_OUT = {
    "AWS::Lambda::Function": {"Layers"},  # functions run from their folders, with the layers' folders on their path
    "AWS::RDS::DBInstance": {"DBParameterGroupName"},  # moto wants a name and resolves the reference to an object
}
"""Properties that moto is not given, by type."""

PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


def is_custom(kind: str) -> bool:
    return kind.startswith("Custom::") or kind == "AWS::CloudFormation::CustomResource"


def for_moto(template: dict[str, Any]) -> dict[str, Any]:
    """The template without what is made or skipped here, and without the layers that functions refer to."""
    absent = SUPPLIED.keys() | SKIPPED.keys() | {ATTACHMENT}
    resources = template["Resources"].items()
    kept = {name: _adapted(r) for name, r in resources if r["Type"] not in absent and not is_custom(r["Type"])}
    return {**template, "Resources": kept}


def _adapted(resource: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in resource.items() if key not in ("Metadata", "DependsOn")}
    if resource["Type"] == LAYER:
        return {"Type": standins.LAYER}
    if left_out := LEFT_OUT.get(resource["Type"]):
        kept["Properties"] = {key: value for key, value in resource["Properties"].items() if key not in left_out}
    if resource["Type"] == "AWS::StepFunctions::StateMachine":
        text, values = resource["Properties"]["DefinitionString"]["Fn::Sub"]
        kept["Properties"] = {**resource["Properties"], "DefinitionString": substituted(text, values)}
    return kept


def substituted(text: str, values: dict[str, Any]) -> dict[str, Any]:
    """A definition with its substitutions as Fn::Join: moto's Fn::Sub would make `$$.Execution` into `$.Execution`."""
    parts: list[Any] = PLACEHOLDER.split(text)
    parts[1::2] = [values[name] for name in parts[1::2]]
    return {"Fn::Join": ["", parts]}
