"""The Lambda service: pools of warm environments, synchronous and asynchronous invocation, failure destinations."""

from __future__ import annotations

import json
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lab.cloud.journal import Journal
from lab.cloud.names import REGION, access_key, function_arn, function_name
from lab.cloud.runtime import Environment, Result

LAB_CONCURRENCY = 4
"""Environments of a function without reserved concurrency: a limit of this machine, so callers wait for one."""

RETRY_DELAYS = (60.0, 120.0)
"""Seconds before Lambda's two retries of an asynchronous invocation."""


class ThrottledError(Exception):
    """Reserved concurrency is used up: TooManyRequestsException (429)."""


@dataclass(frozen=True)
class Function:
    """A function as the template has it. `reserved` is its reserved concurrency, None without one."""

    name: str
    code_dir: Path
    handler: str = "app.handler"
    timeout: float = 3.0
    memory: int = 128
    reserved: int | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    retries: int = 2
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


class Functions(Protocol):
    """What the rest of the cloud needs of Lambda; names may be ARNs."""

    def invoke(self, name: str, payload: bytes) -> Result: ...

    def invoke_async(self, name: str, payload: bytes) -> None: ...


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

    def close(self) -> None:
        with self._free:
            for environment in self._all:
                environment.close()
            self._all.clear()
            self._idle.clear()


DeliverFailure = Callable[[Function, str, bytes, Result, int], None]
"""Called with function, request id, event, last result and attempts when an asynchronous event is given up."""


class LambdaService:
    """Runs functions in processes. Delays of asynchronous retries are multiplied by `scale`."""

    def __init__(self, logs: Path, journal: Journal, scale: float = 1.0) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._journal = journal
        self._delays = tuple(delay * scale for delay in RETRY_DELAYS)
        self._pools: dict[str, Pool] = {}
        self._closing = threading.Event()
        self.on_failure: DeliverFailure | None = None

    def add(self, function: Function) -> None:
        self._pools[function.name] = Pool(function, self._logs / f"{function.name}.log")

    def names(self) -> list[str]:
        return sorted(self._pools)

    def warm(self) -> None:
        """Start one environment of every function, all at once. Raises RuntimeError naming those that do not start."""
        pools = list(self._pools.values())
        if not pools:
            return
        with ThreadPoolExecutor(len(pools)) as executor:
            started = list(executor.map(Pool.warm, pools))
        if bad := [pool.function.name for pool, ok in zip(pools, started, strict=True) if not ok]:
            raise RuntimeError(f"functions that do not start: {', '.join(bad)} (see {self._logs})")

    def invoke(self, name: str, payload: bytes) -> Result:
        """Run the function and wait for it. Raises ThrottledError, and KeyError for an unknown function."""
        pool = self._pools[function_name(name)]
        began = time.monotonic()
        result = pool.invoke(payload)
        if not self._closing.is_set():
            seconds = round(time.monotonic() - began, 4)
            error = json.loads(result.payload) if result.error else None
            self._journal.write("invocation", function=pool.function.name, seconds=seconds, error=error)
        return result

    def invoke_async(self, name: str, payload: bytes) -> None:
        function = self._pools[function_name(name)].function
        threading.Thread(target=self._run_event, args=(function, payload), daemon=True).start()

    def _run_event(self, function: Function, payload: bytes) -> None:
        request_id = str(uuid.uuid4())
        result = Result(b"null")
        for attempt in range(function.retries + 1):
            result = self._until_unthrottled(function, payload)
            if self._closing.is_set() or not result.error:
                return
            if attempt < function.retries and self._closing.wait(self._delays[attempt]):
                return
        if self.on_failure is not None:
            self.on_failure(function, request_id, payload, result, function.retries + 1)

    def _until_unthrottled(self, function: Function, payload: bytes) -> Result:
        # Lambda keeps a throttled event in its own queue and backs off from one second on, for hours.
        while True:
            try:
                return self.invoke(function.name, payload)
            except ThrottledError:
                if self._closing.wait(self._delays[0] / 60):
                    return Result(b"null")

    def close(self) -> None:
        self._closing.set()
        for pool in self._pools.values():
            pool.close()


class FakeLambda:
    """Plain callables `event -> result` in the place of processes, for tests of everything around the functions.

    An exception becomes a function error whose errorType is the exception's class name, as in Lambda.
    """

    def __init__(self, handlers: Mapping[str, Callable[[Any], Any]] | None = None) -> None:
        self.handlers = dict(handlers or {})
        self.calls: list[tuple[str, Any]] = []

    def invoke(self, name: str, payload: bytes) -> Result:
        event = json.loads(payload or b"{}")
        handler = self.handlers[function_name(name)]
        self.calls.append((function_name(name), event))
        try:
            return Result(json.dumps(handler(event)).encode())
        except ThrottledError:
            raise
        except Exception as error:  # noqa: BLE001 - any failure of a handler is a function error, never the service's
            body = {"errorType": type(error).__name__, "errorMessage": str(error)}
            return Result(
                json.dumps({**body, "stackTrace": traceback.format_tb(error.__traceback__)}).encode(), "Unhandled"
            )

    def invoke_async(self, name: str, payload: bytes) -> None:
        threading.Thread(target=self.invoke, args=(name, payload), daemon=True).start()


__all__ = ["FakeLambda", "Function", "Functions", "LambdaService", "Result", "ThrottledError", "function_arn"]
