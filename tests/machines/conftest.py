"""Runs an ASL file, byte for byte, with plain callables in the place of its functions."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from moto.stepfunctions.parser.asl.component.state.state import CommonStateField

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


@contextmanager
def aborting(state: str, time: int) -> Iterator[None]:
    """Executions end as by StopExecution, in this state and not near it; a Choice takes no time in which to be met."""
    body, entered = CommonStateField._eval_body, itertools.count(1)

    def cut(self: CommonStateField, env: Any) -> None:
        if self.name == state and next(entered) == time:
            env.set_stop(stop_date=datetime.now(UTC), cause="aborted", error=None)
            return
        body(self, env)

    with patch.object(CommonStateField, "_eval_body", cut):
        yield


def states_of(file: str) -> list[str]:
    """Of a machine, in their order; those that end it are left out, where nothing is left to abort."""
    states = json.loads((FILES / file).read_text(encoding="utf-8"))["States"]
    return [name for name, state in states.items() if state["Type"] not in ("Succeed", "Fail")]


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

    def run(
        self,
        file: str,
        handlers: Mapping[str, Callable[[Any], Any]],
        given: Any,
        name: str = "execution",
        *,
        aborted_at: tuple[str, int] = ("", 1),
    ) -> Run:
        """Run `statemachines/<file>`; `handlers` by logical id (`ReconcileFunction`), `given` is the input. It is
        aborted on entering a state for the so-manieth time, if it gets there: what that state would do is not done."""
        with aborting(*aborted_at):
            return self._run(file, handlers, given, name)

    def _run(self, file: str, handlers: Mapping[str, Callable[[Any], Any]], given: Any, name: str) -> Run:
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
