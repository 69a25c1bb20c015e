"""The Lambda service: pools of warm environments, synchronous and asynchronous invocation, failure destinations."""

from __future__ import annotations

import json
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from lab.cloud.journal import Journal
from lab.cloud.names import function_name
from lab.cloud.pool import Function, Pool, ThrottledError
from lab.cloud.runtime import Result

__all__ = ["FakeLambda", "Function", "Functions", "LambdaService", "Result", "ThrottledError"]

RETRY_DELAYS = (60.0, 120.0)
"""Seconds before Lambda's two retries of an asynchronous invocation."""

THROTTLED = Result(b'{"errorType": "TooManyRequestsException", "errorMessage": "throttled until it was too old"}')
"""In the place of an answer when there never was one."""


class Functions(Protocol):
    """What the rest of the cloud needs of Lambda; names may be ARNs."""

    def invoke(self, name: str, payload: bytes) -> Result: ...

    def invoke_async(self, name: str, payload: bytes) -> None: ...


DeliverFailure = Callable[[Function, str, bytes, Result, int], None]
"""Called with function, request id, event, last result and attempts when an asynchronous event is given up."""


class LambdaService:
    """Runs functions in processes. Delays of asynchronous retries, and the age of events, are multiplied by `scale`.

    Every event with its answer is kept in `invocations.jsonl` beside `logs`.
    """

    def __init__(self, logs: Path, journal: Journal, scale: float = 1.0) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._journal = journal
        self._records = Journal(logs.parent / "invocations.jsonl")
        self._scale = scale
        self._delays = tuple(delay * scale for delay in RETRY_DELAYS)
        self._pools: dict[str, Pool] = {}
        self._closing = threading.Event()
        self.on_failure: DeliverFailure | None = None

    def add(self, function: Function) -> None:
        self._pools[function.name] = Pool(function, self._logs / f"{function.name}.log")

    def variables(self) -> dict[str, list[str]]:
        """By function, the environment of each of its processes as the kernel has it, `NAME=value` each."""
        return {
            name: [v for process in pool.processes() for v in _environ(process)] for name, pool in self._pools.items()
        }

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
            said = {"event": payload.decode(), "answer": result.payload.decode()}
            self._records.write("invocation", function=pool.function.name, **said)
        return result

    def invoke_async(self, name: str, payload: bytes) -> None:
        function = self._pools[function_name(name)].function
        threading.Thread(target=self._run_event, args=(function, payload), daemon=True).start()

    def _run_event(self, function: Function, payload: bytes) -> None:
        """Lambda's own queue: an event that is too old is given up, whether it was throttled or waits for a retry."""
        request_id, expiry = str(uuid.uuid4()), time.monotonic() + function.event_age * self._scale
        result, attempts = THROTTLED, 0
        while attempts <= function.retries and time.monotonic() <= expiry:
            answer = self._until_unthrottled(function, payload, expiry)
            if answer is None:
                break
            result, attempts = answer, attempts + 1
            if not result.error or (attempts <= function.retries and self._closing.wait(self._delays[attempts - 1])):
                return
        if self.on_failure is not None and not self._closing.is_set():
            self.on_failure(function, request_id, payload, result, attempts)

    def _until_unthrottled(self, function: Function, payload: bytes, expiry: float) -> Result | None:
        """None when the event got too old, or the lab closes, before an environment was free."""
        while time.monotonic() <= expiry:
            try:
                return self.invoke(function.name, payload)
            except ThrottledError:  # Lambda backs off from one second on
                if self._closing.wait(self._delays[0] / 60):
                    return None
        return None

    def close(self) -> None:
        self._closing.set()
        for pool in self._pools.values():
            pool.close()
        self._records.close()


def _environ(process: int) -> list[str]:
    return Path(f"/proc/{process}/environ").read_bytes().decode(errors="replace").strip("\0").split("\0")


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
