"""Where CloudFormation waits for an answer, on a bad day; and a host that takes calls and says nothing."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.lab.waiting import until

SIGNATURE = "X-Amz-Signature=hunter2-signed"


class Desk:
    """Answers a PUT with the next of `codes`, then with 200, and keeps what came with that. Refuses connections until
    `open()`; its address is known before."""

    def __init__(self, *codes: int) -> None:
        self.codes, self.asked = list(codes), 0
        self.answers: list[dict[str, Any]] = []
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            self._port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self._port}/answer?{SIGNATURE}"
        self._server: ThreadingHTTPServer | None = None

    def open(self) -> Desk:
        desk = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(desk.take(body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def take(self, body: dict[str, Any]) -> int:
        self.asked += 1
        code = self.codes.pop(0) if self.codes else 200
        if code == 200:
            self.answers.append(body)
        return code

    def answer(self, seconds: float = 15) -> dict[str, Any]:
        """The one answer; fails when there is none in time."""
        until(lambda: self.answers, seconds)
        [answer] = self.answers
        return answer

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


@contextmanager
def silent_host() -> Iterator[int]:
    """Port of a host that accepts connections and never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=16)) as listening:
        yield int(listening.getsockname()[1])
