"""What a deployment with the template's own defaults has: policy of its fleets, tick, alarms. Untuned."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from samcli.yamlhelper import yaml_parse

from lab.cloud.names import REGION
from lab.render import Template, parameter_values, render

TEMPLATE = Path(__file__).parent.parent / "template.yaml"
INTERVALS = re.compile(r"(POLL|HEARTBEAT)_INTERVAL_SECONDS=(\d+)")


def defaults(path: Path = TEMPLATE) -> dict[str, str]:
    """Texts by name: `tick_seconds`, `minute_seconds` and `empty_minutes` of the queue-empty alarm, `poll_seconds` and
    `heartbeat_seconds` of a worker, and each policy tag of the fleets (`fleet:idle-seconds` is `idle_seconds`).

    Where two fleets differ, both values: "300 or 600".
    """
    declared = yaml_parse(path.read_text(encoding="utf-8"))
    required = {name: "given" for name, spec in declared["Parameters"].items() if "Default" not in spec}
    with patch.dict(os.environ, {"AWS_DEFAULT_REGION": REGION}):
        template = render(path, required)
    fleets = [_fleet(stack) for stack in _of_type(template, "CloudFormation::Stack") if _is_fleet(stack)]
    values = {name: list(dict.fromkeys(fleet[name] for fleet in fleets)) for name in fleets[0]}
    return {"tick_seconds": _tick(template)} | {name: " or ".join(found) for name, found in values.items()}


def _tick(template: Template) -> str:
    rules = [rule for rule in _of_type(template, "Events::Rule") if "ScheduleExpression" in rule["Properties"]]
    inputs = [json.loads(t["Input"]) for rule in rules for t in rule["Properties"]["Targets"] if "Input" in t]
    return next(str(told["tick_seconds"]) for told in inputs if "tick_seconds" in told)


def _is_fleet(stack: Template) -> bool:
    return any(_of_type(stack["Metadata"]["Template"], "AutoScaling::AutoScalingGroup"))


def _fleet(stack: Template) -> dict[str, str]:
    template = stack["Metadata"]["Template"]
    given = {name: str(value) for name, value in stack["Properties"]["Parameters"].items()}
    values = parameter_values(template, given)
    [group] = _of_type(template, "AutoScaling::AutoScalingGroup")
    tags = {tag["Key"]: tag["Value"] for tag in group["Properties"]["Tags"] if tag["Key"].startswith("fleet:")}
    policy = {_plain(key): _text(value, values) for key, value in tags.items() if _known(value)}
    intervals = dict(INTERVALS.findall(json.dumps(template)))
    return policy | _queue_empty(template, values) | {f"{k.lower()}_seconds": v for k, v in intervals.items()}


def _queue_empty(template: Template, values: Mapping[str, str]) -> dict[str, str]:
    alarms = [alarm["Properties"] for alarm in _of_type(template, "CloudWatch::Alarm")]
    [alarm] = [one for one in alarms if "queue-empty" in json.dumps(one["AlarmName"])]
    period, periods = (int(_text(alarm[key], values)) for key in ("Period", "EvaluationPeriods"))
    return {"minute_seconds": str(period), "empty_minutes": f"{period * periods / 60:g}"}


def _of_type(template: Template, kind: str) -> Iterator[Template]:
    return (resource for resource in template["Resources"].values() if resource["Type"] == f"AWS::{kind}")


def _plain(tag: str) -> str:
    return tag.removeprefix("fleet:").replace("-", "_")


def _known(value: Any) -> bool:
    return not isinstance(value, Mapping) or "Ref" in value


def _text(value: Any, values: Mapping[str, str]) -> str:
    return values[value["Ref"]] if isinstance(value, Mapping) else str(value)
