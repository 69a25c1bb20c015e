"""Runs an ASL file, byte for byte, with plain callables in the place of its functions."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.cloud.aws import Cloud
from lab.cloud.functions import FakeLambda
from lab.cloud.machines import hurried
from lab.cloud.names import function_arn

FILES = Path(__file__).parents[2] / "statemachines"
HURRY = 0.01
DEADLINE_SECONDS = 20.0
LOST_CALLS = (
    "Sandbox.Timedout",
    "Runtime.ExitError",
    "Lambda.Unknown",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
)
"""What Step Functions is told when a call may have ended in the middle, or was never answered."""
PLACEHOLDER = re.compile(r"\$\{(\w+)Arn\}")


def lost(name: str) -> Exception:
    """An error as it arrives from a function: by the name of its class."""
    error: Exception = type(name, (Exception,), {})("Task timed out after 30.00 seconds")
    return error


@dataclass(frozen=True)
class Run:
    """An execution that has ended. `states` are those entered, in order; `calls` are (logical id, payload)."""

    status: str
    output: Any
    error: str | None
    cause: str | None
    states: list[str]
    calls: list[tuple[str, Any]]


class Machines:
    """One emulated account for all runs; waits and retry intervals take a hundredth of their time."""

    def __init__(self, cloud: Cloud, functions: FakeLambda) -> None:
        self._api, self._functions = cloud.client("stepfunctions"), functions
        self._number = itertools.count(1)

    def run(self, file: str, handlers: Mapping[str, Callable[[Any], Any]], given: Any, name: str = "execution") -> Run:
        """Run `statemachines/<file>`; `handlers` by logical id (`ReconcileFunction`), `given` is the input."""
        number = next(self._number)
        for logical_id, handler in handlers.items():
            self._functions.handlers[f"{logical_id}-{number}"] = handler
        text = (FILES / file).read_text(encoding="utf-8")
        definition = PLACEHOLDER.sub(lambda found: function_arn(f"{found[1]}-{number}"), text)
        role = "arn:aws:iam::123456789012:role/machine"
        machine = self._api.create_state_machine(name=f"machine-{number}", definition=definition, roleArn=role)
        started = self._api.start_execution(
            stateMachineArn=machine["stateMachineArn"], name=name, input=json.dumps(given)
        )
        return self._ended(started["executionArn"], f"-{number}")

    def _ended(self, arn: str, suffix: str) -> Run:
        end = time.monotonic() + DEADLINE_SECONDS
        while (execution := self._api.describe_execution(executionArn=arn))["status"] == "RUNNING":
            assert time.monotonic() < end, "the execution does not end"
            time.sleep(0.01)
        return Run(
            status=execution["status"],
            output=json.loads(execution["output"]) if "output" in execution else None,
            error=execution.get("error"),
            cause=execution.get("cause"),
            states=self._states(arn),
            calls=[
                (called.removesuffix(suffix), event)
                for called, event in self._functions.calls
                if called.endswith(suffix)
            ],
        )

    def _states(self, arn: str) -> list[str]:
        events = self._api.get_execution_history(executionArn=arn)["events"]
        return [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    functions = FakeLambda()
    with hurried(HURRY), Cloud(tmp_path_factory.mktemp("machines"), functions) as cloud:
        yield Machines(cloud, functions)
