"""What CloudFormation would refuse of a deployment's parameters, and what it cannot see, said before anything is sent.

CloudFormation itself checks a nested stack's parameters only when it gets there, half an hour into a first deployment,
and compares no numbers at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse

from lab.cloud.names import REGION
from lab.render import Template, as_text, is_looked_up, parameter_values, render


def faults(path: Path, given: Mapping[str, str], region: str = REGION) -> list[str]:
    """Each fault of a deployment there with these parameters, naming the parameter and why; empty when it is good."""
    source = yaml_parse(path.read_text(encoding="utf-8"))
    declared = source["Parameters"]
    if unknown := sorted(given.keys() - declared.keys()):
        return [f"{name}: the template has no such parameter" for name in unknown]
    values = parameter_values(source, given)
    refused = [*of_parameters(declared, values), *of_rules(source.get("Rules", {}), values | {"AWS::Region": region})]
    if refused:  # what follows takes values for well formed
        return refused
    late = [*of_places(values, region), *of_slugs(source, values)]
    return late or list(of_nested(render(path, given)))


def of_parameters(declared: Template, values: Mapping[str, str], where: str = "") -> Iterator[str]:
    for name, value in values.items():
        spec = declared[name]
        if not is_looked_up(spec):
            items = value.split(",") if spec["Type"] == "CommaDelimitedList" else [value]
            yield from (f"{where}{name}: {fault}" for item in items for fault in of_value(spec, item))


def of_value(spec: Template, value: str) -> Iterator[str]:
    allowed = [as_text(choice) for choice in spec.get("AllowedValues", [value])]
    if value not in allowed:
        yield f"{value!r} is none of {', '.join(allowed)}"
    if not re.fullmatch(spec.get("AllowedPattern", ".*"), value):
        yield f"{value!r} does not match {spec['AllowedPattern']}"
    if len(value) > int(spec.get("MaxLength", len(value))):
        yield f"{value!r} is longer than {spec['MaxLength']} characters"
    if spec["Type"] == "Number":
        yield from of_number(spec, value)


def of_number(spec: Template, value: str) -> Iterator[str]:
    if not re.fullmatch(r"-?\d+(\.\d+)?", value):
        yield f"{value!r} is no number"
        return
    if float(value) < float(spec.get("MinValue", value)):
        yield f"{value} is below {spec['MinValue']}"
    if float(value) > float(spec.get("MaxValue", value)):
        yield f"{value} is above {spec['MaxValue']}"


def of_rules(rules: Template, values: Mapping[str, str]) -> Iterator[str]:
    """The template's own Rules, as CloudFormation evaluates them."""
    for name, rule in rules.items():
        if holds(rule.get("RuleCondition", True), values):
            broken = [a for a in rule["Assertions"] if not holds(a["Assert"], values)]
            yield from (f"{name}: {assertion['AssertDescription']}" for assertion in broken)


def holds(node: Any, values: Mapping[str, str]) -> Any:
    """A rule's function with its references resolved. Raises KeyError naming one that is not known here."""
    if not isinstance(node, dict):
        return node
    [(function, argument)] = node.items()
    evaluate: dict[str, Callable[[], Any]] = {
        "Ref": lambda: values[argument],
        "Fn::Equals": lambda: holds(argument[0], values) == holds(argument[1], values),
        "Fn::Not": lambda: not holds(argument[0], values),
        "Fn::And": lambda: all(holds(item, values) for item in argument),
        "Fn::Or": lambda: any(holds(item, values) for item in argument),
    }
    return evaluate[function]()


def of_places(values: Mapping[str, str], region: str) -> Iterator[str]:
    """What stands in a region, by its name."""
    if (arn := values["CertificateArn"]) and (there := arn.split(":")[3]) != region:
        yield f"CertificateArn: it is of {there}, and the load balancer takes one of {region}"
    zones = [zone for zone in values["Zones"].split(",") if zone]
    yield from (f"Zones: {zone} is not in {region}" for zone in zones if not zone.startswith(region))
    if len(zones) > len(set(zones)):
        yield f"Zones: {zones[0]} is there twice, and two are needed"


def of_slugs(source: Template, values: Mapping[str, str]) -> Iterator[str]:
    slugs, known = values["WorkflowSlugs"].split(","), source["Mappings"]["Workflows"]
    yield from (f"WorkflowSlugs: {slug} has no entry under Mappings / Workflows" for slug in slugs if slug not in known)
    yield from (f"WorkflowSlugs: {slug} is listed twice" for slug in sorted(set(slugs)) if slugs.count(slug) > 1)
    for first, second in combinations(sorted(set(slugs)), 2):
        if first.replace("-", "") == second.replace("-", ""):  # logical ids have no hyphens
            yield f"WorkflowSlugs: {first} and {second} differ by hyphens alone"


def of_nested(template: Template) -> Iterator[str]:
    """Of the values that the root hands down, as far as they are known before a deployment."""
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::CloudFormation::Stack":
            handed = resource["Properties"].get("Parameters", {})
            known = {key: as_text(value) for key, value in handed.items() if not isinstance(value, dict)}
            yield from of_parameters(resource["Metadata"]["Template"]["Parameters"], known, f"{name}.")
            least, most = known.get("MinSize", "0"), known.get("MaxSize", "0")
            if int(most) < int(least):
                yield f"{name}: MaxSize {most} is below MinSize {least}"
