"""The state machines as they are deployed: complete, retried, caught, bounded."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from lab.render import Template

from .conftest import ROOT, properties_of, resolved

TYPES = {"fleet-cycle": "EXPRESS", "scale-in": "STANDARD", "spot-interruption": "STANDARD", "ami-rollout": "STANDARD"}
FUNCTIONS = {name: "reconcile" if name == "fleet-cycle" else name for name in TYPES}
THROTTLED = "Lambda.TooManyRequestsException"


def machine(root: Template, name: str) -> dict[str, Any]:
    machines = properties_of(root, "AWS::StepFunctions::StateMachine").values()
    return next(properties for properties in machines if properties["StateMachineName"] == f"bp-staging-{name}")


def definition(root: Template, name: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(machine(root, name)["DefinitionString"])
    return parsed


def states_of(definition: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All states, those of maps and parallel branches included."""
    for state in definition["States"].values():
        yield state
        for branch in [
            *state.get("Branches", []),
            *(state[key] for key in ("ItemProcessor", "Iterator") if key in state),
        ]:
            yield from states_of(branch)


def tasks(root: Template, name: str) -> list[dict[str, Any]]:
    return [state for state in states_of(definition(root, name)) if state["Type"] == "Task"]


def test_every_machine_of_the_folder_is_deployed(root: Template) -> None:
    machines = properties_of(root, "AWS::StepFunctions::StateMachine").values()
    assert {m["StateMachineName"]: m["StateMachineType"] for m in machines} == {
        f"bp-staging-{name}": kind for name, kind in TYPES.items()
    }
    assert {path.name for path in (ROOT / "statemachines").iterdir()} == {
        f"{name.replace('-', '_')}.asl.json" for name in TYPES
    }


@pytest.mark.parametrize("name", TYPES)
def test_only_arns_are_substituted_and_all_of_them(root: Template, name: str) -> None:
    source = (ROOT / "statemachines" / f"{name.replace('-', '_')}.asl.json").read_text()
    placeholders = set(re.findall(r"\$\{(\w+)\}", source))
    assert placeholders == {"".join(w.title() for w in FUNCTIONS[name].split("-")) + "FunctionArn"}
    assert "${" not in machine(root, name)["DefinitionString"]


@pytest.mark.parametrize("name", TYPES)
def test_tasks_call_their_function_through_lambda_invoke(root: Template, name: str) -> None:
    called = {(task["Resource"], task["Parameters"]["FunctionName"].rsplit(":", 1)[-1]) for task in tasks(root, name)}
    assert called == {("arn:aws:states:::lambda:invoke", f"bp-staging-{FUNCTIONS[name]}")}


@pytest.mark.parametrize("name", TYPES)
def test_a_throttled_call_is_tried_again(root: Template, name: str) -> None:
    for task in tasks(root, name):
        assert THROTTLED in {error for retry in task["Retry"] for error in retry["ErrorEquals"]}


@pytest.mark.parametrize("name", TYPES)
def test_waits_come_from_the_input(root: Template, name: str) -> None:
    waits = [state for state in states_of(definition(root, name)) if state["Type"] == "Wait"]
    assert waits
    assert all("SecondsPath" in wait for wait in waits)


@pytest.mark.parametrize("name", TYPES)
def test_an_execution_is_bounded_and_its_errors_are_logged(root: Template, name: str) -> None:
    assert definition(root, name)["TimeoutSeconds"] > 0
    logging = machine(root, name)["LoggingConfiguration"]
    assert logging["Level"] == "ERROR"
    [destination] = logging["Destinations"]
    group = destination["CloudWatchLogsLogGroup"]["LogGroupArn"]
    assert group.endswith(f":log-group:/aws/vendedlogs/states/bp-staging-{name}:*")


def test_a_failed_look_is_left_to_the_next_one(root: Template) -> None:
    [reconcile] = tasks(root, "fleet-cycle")
    [catch] = reconcile["Catch"]
    assert catch["ErrorEquals"] == ["States.ALL"]
    assert catch["Next"] == reconcile["Next"]


@pytest.mark.parametrize("seconds", ["5", "10", "15", "20", "30", "60"])
def test_one_execution_ticks_through_its_minute_and_leaves_the_next_to_another(seconds: str) -> None:
    rules = properties_of(resolved(TickSeconds=seconds)[""], "AWS::Events::Rule").values()
    [rule] = [rule for rule in rules if rule.get("Name") == "bp-staging-fleet-cycle"]
    [target] = rule["Targets"]
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    assert target["Arn"].endswith(":stateMachine:bp-staging-fleet-cycle")
    cycle = json.loads(target["Input"])
    assert cycle == {"ticks": 60 // int(seconds), "tick_seconds": int(seconds), "tick": 0}


def test_an_execution_ends_before_the_next_one_takes_over(root: Template) -> None:
    assert definition(root, "fleet-cycle")["TimeoutSeconds"] < 60
