"""One Lambda execution environment: the Runtime API on a port of its own, and the real runtime client as a process."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from lab import processes
from lab.cloud.names import function_arn

INIT_SECONDS = 30.0
"""Time an environment may take to import its handler: AWS gives 10 s; a small shared machine may be slower."""


@dataclass(frozen=True)
class Result:
    """An invocation's answer: the payload, and `error` = "Unhandled" when the function failed."""

    payload: bytes
    error: str | None = None

    @classmethod
    def failed(cls, error_type: str, message: str) -> Result:
        return cls(json.dumps({"errorType": error_type, "errorMessage": message}).encode(), "Unhandled")

    @property
    def error_type(self) -> str:
        """The error's name (`errorType` of the payload), empty when the invocation succeeded."""
        return str(json.loads(self.payload).get("errorType", "Exception")) if self.error else ""


@dataclass
class Invocation:
    payload: bytes
    timeout: float
    arn: str
    traced: bool = False
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    result: Result | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def finish(self, result: Result) -> None:
        if not self.done.is_set():
            self.result = result
            self.done.set()

    def headers(self) -> dict[str, str]:
        root = f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]}"
        parent = f"Parent={uuid.uuid4().hex[:16]};Sampled=1" if self.traced else "Sampled=0"
        return {
            "Lambda-Runtime-Aws-Request-Id": self.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + self.timeout) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": self.arn,
            "Lambda-Runtime-Trace-Id": f"{root};{parent}",
            "Content-Type": "application/json",
        }


class Environment:
    """A warm process of one function. One invocation at a time; dead once it timed out or exited."""

    def __init__(self, name: str, handler: str, code_dir: Path, variables: Mapping[str, str], log: Path) -> None:
        self.arn = function_arn(name)
        self._traced = "AWS_XRAY_DAEMON_ADDRESS" in variables
        self.alive = True
        self._pending: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        self._current: Invocation | None = None
        self._init_error: Result | None = None
        self._started = threading.Event()
        self._server = _RuntimeApi(self)
        self._process = self._spawn(handler, code_dir, variables, log)
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        threading.Thread(target=self._reap, daemon=True).start()

    def _spawn(self, handler: str, code_dir: Path, variables: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
        env = {"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", "TZ": "UTC", **variables}
        env |= {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_port}", "_HANDLER": handler}
        command = [sys.executable, "-m", "awslambdaric", handler]
        return processes.spawn(command, env=env, cwd=code_dir, log=log)

    @property
    def process(self) -> int:
        """Its id."""
        return self._process.pid

    def wait_started(self, seconds: float = INIT_SECONDS) -> bool:
        """True once the handler is imported and asks for work."""
        return self._started.wait(seconds) and self.alive

    def invoke(self, payload: bytes, timeout: float) -> Result:
        if not self.wait_started():
            self.close()
            return self._init_error or Result.failed("Runtime.InitError", "the environment did not start")
        invocation = Invocation(payload, timeout, self.arn, self._traced)
        self._current = invocation
        self._pending.put(invocation)
        if not invocation.done.wait(timeout):
            message = f"{invocation.request_id} Task timed out after {timeout:.2f} seconds"
            invocation.finish(Result.failed("Sandbox.Timedout", message))
            self.close()
        self._current = None
        assert invocation.result is not None
        return invocation.result

    def next(self) -> Invocation | None:
        """The Runtime API's long poll; None when the environment closes."""
        self._started.set()
        return self._pending.get()

    def answer(self, request_id: str, result: Result) -> None:
        if self._current is not None and self._current.request_id == request_id:
            self._current.finish(result)

    def fail_init(self, result: Result) -> None:
        self._init_error = result
        self.alive = False
        self._started.set()

    def _reap(self) -> None:
        code = self._process.wait()
        self.alive = False
        self._started.set()
        if self._current is not None:
            message = f"RequestId: {self._current.request_id} Error: Runtime exited with status {code}"
            self._current.finish(Result.failed("Runtime.ExitError", message))
        self._pending.put(None)
        self._server.shutdown()
        self._server.server_close()

    def close(self) -> None:
        """Kill the process, as AWS does: between invocations a function has nothing left to clean up."""
        self.alive = False
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


class _RuntimeApi(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, environment: Environment) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.environment = environment

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A killed environment drops its connection in the middle of a poll: nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _RuntimeApi

    def do_GET(self) -> None:
        invocation = self.server.environment.next()
        if invocation is None:
            self.close_connection = True
            return
        self._send(200, invocation.payload, invocation.headers())

    def do_POST(self) -> None:
        body = self._body()
        parts = self.path.strip("/").split("/")
        if parts[2:] == ["init", "error"]:
            self.server.environment.fail_init(Result(body, "Unhandled"))
        elif parts[-1] == "response":
            self.server.environment.answer(parts[-2], Result(body))
        elif parts[-1] == "error":
            self.server.environment.answer(parts[-2], Result(body, "Unhandled"))
        self._send(202, b"{}", {"Content-Type": "application/json"})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(iter(self._chunk, b""))
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline().split(b";")[0], 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Silent: the journal has the invocations."""
