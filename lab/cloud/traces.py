"""A stand-in for the X-Ray daemon of a Lambda environment: keeps every segment that functions send."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

GREATEST = 65_536


class TraceDaemon:
    """Writes what arrives by UDP, one line a datagram: the segment, as JSON, without the header before it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._listen, name="traces", daemon=True)

    @property
    def address(self) -> str:
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def start(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def _listen(self) -> None:
        """Until an empty datagram comes."""
        with self._path.open("wb") as file:
            while datagram := self._socket.recv(GREATEST):
                file.write(datagram.partition(b"\n")[2] + b"\n")
                file.flush()

    def close(self) -> None:
        if self._thread.is_alive():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", self._socket.getsockname())
            self._thread.join(5)
        self._socket.close()
