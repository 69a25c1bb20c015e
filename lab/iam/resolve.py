"""Rendered templates with every reference resolved: what each resource is in the end, as plain values.

Resources that the templates name get the ids and ARNs that AWS would give them; the others go by their logical id.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from lab.render import PSEUDO_PARAMETERS, Template, as_text

ACCOUNT, REGION = PSEUDO_PARAMETERS["AWS::AccountId"], PSEUDO_PARAMETERS["AWS::Region"]
NO_VALUE = object()


@dataclass(frozen=True)
class Identity:
    """What `Ref` and `GetAtt Arn` of a resource type yield, from its name."""

    name_property: str
    ref: str
    arn: str


def identity(name_property: str, service: str, path: str, ref: str = "{name}") -> Identity:
    return Identity(name_property, ref, f"arn:aws:{service}:{REGION}:{ACCOUNT}:{path}")


IDENTITIES = {
    "AWS::AutoScaling::AutoScalingGroup": identity("AutoScalingGroupName", "autoscaling", "autoScalingGroup:{name}"),
    "AWS::Events::Rule": identity("Name", "events", "rule/{name}"),
    "AWS::IAM::Role": Identity("RoleName", "{name}", f"arn:aws:iam::{ACCOUNT}:role/{{name}}"),
    "AWS::Lambda::Function": identity("FunctionName", "lambda", "function:{name}"),
    "AWS::Logs::LogGroup": identity("LogGroupName", "logs", "log-group:{name}:*"),
    "AWS::S3::Bucket": Identity("BucketName", "{name}", "arn:aws:s3:::{name}"),
    "AWS::SecretsManager::Secret": identity("Name", "secretsmanager", "secret:{name}-AbCdEf", ref="{arn}"),
    "AWS::SNS::Topic": identity("TopicName", "sns", "{name}", ref="{arn}"),
    "AWS::SQS::Queue": identity(
        "QueueName", "sqs", "{name}", ref=f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{{name}}"
    ),
    "AWS::StepFunctions::StateMachine": identity("StateMachineName", "states", "stateMachine:{name}", ref="{arn}"),
}
KEPT = ("Type", "DependsOn", "DeletionPolicy", "UpdateReplacePolicy")
BY_LOGICAL_ID = Identity("", "{name}", f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:{{name}}")


def resolve_stacks(template: Template, parameters: dict[str, str]) -> dict[str, Template]:
    """Resolved resources of a rendered template and of its nested stacks, by the stack's logical id; "" is the root."""
    root = Stack(template, parameters)
    return {"": root.resources()} | {name: root.child(name).resources() for name in root.children()}


class Stack:
    """One template with its parameter values. Raises KeyError naming a reference that leads nowhere."""

    def __init__(self, template: Template, parameters: dict[str, str]) -> None:
        self.template = template
        declared = template.get("Parameters", {})
        defaults = {name: as_text(spec["Default"]) for name, spec in declared.items() if "Default" in spec}
        self.parameters = {
            name: value.split(",") if "List" in declared[name]["Type"] else value
            for name, value in (defaults | {k: v for k, v in parameters.items() if k in declared}).items()
        }

    def children(self) -> list[str]:
        """Logical ids of the nested stacks."""
        return [name for name, r in self.template["Resources"].items() if r["Type"] == "AWS::CloudFormation::Stack"]

    @cache  # noqa: B019 - a stack lives as long as its tests
    def child(self, name: str) -> Stack:
        resource = self.template["Resources"][name]
        given = self.value(resource["Properties"].get("Parameters", {}))
        return Stack(resource["Metadata"]["Template"], {key: as_text(value) for key, value in given.items()})

    def output(self, name: str) -> str:
        return as_text(self.value(self.template["Outputs"][name]["Value"]))

    def resources(self) -> Template:
        """Resources whose condition holds, with what is said of their deletion, without their metadata."""
        return {
            name: {
                **{key: resource[key] for key in KEPT if key in resource},
                "Properties": self.value(resource.get("Properties", {})),
            }
            for name, resource in self.template["Resources"].items()
            if "Condition" not in resource or self.condition(resource["Condition"])
        }

    def condition(self, name: str) -> bool:
        return bool(self.value(self.template["Conditions"][name]))

    def value(self, node: Any) -> Any:
        if isinstance(node, list):
            return [value for item in node if (value := self.value(item)) is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1 and (function := self.functions().get(next(iter(node)))):
            return function(next(iter(node.values())))
        return {key: value for key, item in node.items() if (value := self.value(item)) is not NO_VALUE}

    def functions(self) -> dict[str, Callable[[Any], Any]]:
        return {
            "Ref": self.ref,
            "Fn::GetAtt": lambda args: self.attribute(*(args.split(".", 1) if isinstance(args, str) else args)),
            "Fn::Sub": self.sub,
            "Fn::If": lambda args: self.value(args[1] if self.condition(args[0]) else args[2]),
            "Fn::Join": lambda args: str(args[0]).join(map(str, self.value(args[1]))),
            "Fn::Split": lambda args: str(self.value(args[1])).split(args[0]),
            "Fn::Select": lambda args: self.value(args[1])[int(args[0])],
            "Fn::FindInMap": self.find_in_map,
            "Fn::Base64": self.value,
            "Fn::Equals": lambda args: str(self.value(args[0])) == str(self.value(args[1])),
            "Fn::Not": lambda args: not self.value(args[0]),
            "Fn::And": lambda args: all(map(self.value, args)),
            "Fn::Or": lambda args: any(map(self.value, args)),
            "Fn::GetAZs": lambda _: [f"{REGION}a", f"{REGION}b"],
            "Condition": self.condition_or_statement,
        }

    def condition_or_statement(self, argument: Any) -> Any:
        """`Condition` names a condition, or is the only key left of a policy statement."""
        return self.condition(argument) if isinstance(argument, str) else {"Condition": self.value(argument)}

    def ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self.parameters:
            return self.parameters[name]
        return PSEUDO_PARAMETERS[name] if name in PSEUDO_PARAMETERS else self.attribute(name, "Ref")

    def attribute(self, logical_id: str, attribute: str) -> str:
        """The value of an attribute; other than Ref and Arn, a stand-in that names it."""
        resource = self.template["Resources"][logical_id]
        if attribute.startswith("Outputs."):
            return self.child(logical_id).output(attribute.removeprefix("Outputs."))
        kind = IDENTITIES.get(resource["Type"], BY_LOGICAL_ID)
        name = self.value(resource.get("Properties", {}).get(kind.name_property, logical_id))
        arn = kind.arn.format(name=name)
        return {"Ref": kind.ref.format(name=name, arn=arn), "Arn": arn}.get(attribute, f"{logical_id}.{attribute}")

    def sub(self, args: Any) -> str:
        text, given = (args, {}) if isinstance(args, str) else args

        def replacement(match: re.Match[str]) -> str:
            name = match[1]
            if name in given:
                return as_text(self.value(given[name]))
            return as_text(self.value({"Fn::GetAtt": name} if "." in name else {"Ref": name}))

        return re.sub(r"\$\{!", "${", re.sub(r"\$\{([^!}]+)\}", replacement, text))

    def find_in_map(self, args: Any) -> Any:
        name, first, second = (self.value(arg) for arg in args)
        return self.template["Mappings"][name][first][second]
