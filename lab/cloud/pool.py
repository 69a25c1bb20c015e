"""One function and its warm execution environments."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.cloud.names import REGION, access_key
from lab.cloud.runtime import Environment, Result

LAB_CONCURRENCY = 4
"""Environments of a function without reserved concurrency: a limit of this machine, so callers wait for one."""


class ThrottledError(Exception):
    """Reserved concurrency is used up: TooManyRequestsException (429)."""


@dataclass(frozen=True)
class Function:
    """A function as the template has it. `reserved` is its reserved concurrency, None without one.

    `event_age` is the seconds that Lambda keeps an asynchronous event at most.
    """

    name: str
    code_dir: Path
    handler: str = "app.handler"
    timeout: float = 3.0
    memory: int = 128
    reserved: int | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    retries: int = 2
    event_age: float = 21_600.0
    dead_letter_arn: str | None = None
    on_failure_arn: str | None = None

    def environment(self) -> dict[str, str]:
        """The variables Lambda itself sets, and above them the template's."""
        return {
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.memory),
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{self.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": f"[$LATEST]{uuid.uuid4().hex}",
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": access_key(self.name),
            "AWS_SECRET_ACCESS_KEY": "lab",
            "LAMBDA_TASK_ROOT": str(self.code_dir),
            **self.variables,
        }


class Pool:
    """The environments of one function."""

    def __init__(self, function: Function, log: Path) -> None:
        self.function = function
        self._log = log
        self._limit = function.reserved if function.reserved is not None else LAB_CONCURRENCY
        self._idle: list[Environment] = []
        self._all: set[Environment] = set()
        self._free = threading.Condition()

    def start(self) -> Environment:
        function = self.function
        return Environment(function.name, function.handler, function.code_dir, function.environment(), self._log)

    def warm(self) -> bool:
        environment = self.acquire()
        started = environment.wait_started()
        self.release(environment)
        return started

    def acquire(self) -> Environment:
        with self._free:
            self._bury()
            while not self._idle and len(self._all) >= self._limit:
                if self.function.reserved is not None:
                    raise ThrottledError(self.function.name)
                self._free.wait()
            if self._idle:
                return self._idle.pop()
            environment = self.start()
            self._all.add(environment)
            return environment

    def _bury(self) -> None:
        """Forget idle environments whose process has ended."""
        self._idle = [environment for environment in self._idle if environment.alive]
        self._all = {environment for environment in self._all if environment.alive}

    def release(self, environment: Environment) -> None:
        with self._free:
            if environment.alive:
                self._idle.append(environment)
            else:
                self._all.discard(environment)
            self._free.notify()

    def invoke(self, payload: bytes) -> Result:
        environment = self.acquire()
        try:
            return environment.invoke(payload, self.function.timeout)
        finally:
            self.release(environment)

    def processes(self) -> list[int]:
        """The ids of its living environments."""
        with self._free:
            self._bury()
            return [environment.process for environment in self._all]

    def close(self) -> None:
        with self._free:
            for environment in self._all:
                environment.close()
            self._all.clear()
            self._idle.clear()
