"""A stand-in for the X-Ray daemon of a Lambda environment: keeps every segment that functions send."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any, Self

from lab.cloud.runtime import Invocation

_unsampled = Invocation.headers


def sampled_headers(invocation: Invocation) -> dict[str, str]:
    """Lambda's headers of an invocation whose trace is sampled, so that everything is recorded."""
    headers = _unsampled(invocation)
    root = headers["Lambda-Runtime-Trace-Id"].partition(";")[0]
    return headers | {"Lambda-Runtime-Trace-Id": f"{root};Parent=53995c3f42cd8ad8;Sampled=1"}


class TraceDaemon:
    """Writes what arrives by UDP, one line a datagram: a header and a segment, both JSON."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._listen, daemon=True)

    @property
    def address(self) -> str:
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def _listen(self) -> None:
        while datagram := self._socket.recv(65_536):
            self._file.write(datagram.partition(b"\n")[2] + b"\n")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self._thread.join(5)
        self._socket.close()
        self._file.close()
