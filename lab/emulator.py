"""Amazon's Runtime Interface Emulator (of the SAM CLI) as a plain process: the Runtime API around the real client."""

from __future__ import annotations

import json
import platform
import socket
import time
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

import samcli

from lab import processes
from lab.sam_local import Invocable

PATH = "/2015-03-31/functions/function/invocations"
START_SECONDS = 10.0
ANSWER_SECONDS = 60.0


def emulator() -> Path:
    """The program for this machine, as `sam local` copies it into its containers."""
    machine = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return Path(samcli.__file__).parent / "local" / "rapid" / f"aws-lambda-rie-{machine}"


class Emulator:
    """One execution environment of one function; it starts the handler at the first invocation.

    `python` is an interpreter with the runtime client and the SDK, `opt` stands for /opt, and nothing else is on the
    path. Bytecode is not written: Lambda's file systems are read-only.
    """

    def __init__(self, python: Path, opt: Path, function: Invocable, log: Path) -> None:
        self._port, runtime_port = _free_port(), _free_port()
        self.log = log
        command = [str(emulator()), "--runtime-interface-emulator-address", f"127.0.0.1:{self._port}"]
        command += ["--runtime-api-address", f"127.0.0.1:{runtime_port}"]
        command += [str(python), "-m", "awslambdaric", function.handler]
        environment = {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": f"{opt / 'python'}",
            "LAMBDA_TASK_ROOT": str(function.code),
            **function.environment,
        }
        self._process = processes.spawn(command, env=environment, cwd=function.code, log=log)
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.01)
        raise RuntimeError(f"the emulator did not start: {self.log.read_text(encoding='utf-8')[-1000:]}")

    def invoke(self, event: Mapping[str, Any]) -> Any:
        """The handler's answer; an error is an object with `errorType` and `errorMessage`, as Lambda answers it."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_SECONDS)
        try:
            connection.request("POST", PATH, json.dumps(dict(event)).encode())
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def close(self) -> None:
        """The emulator ends its runtime process when it is asked to stop."""
        processes.stop(self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
