"""Wishes to a running world: a small HTTP server on 127.0.0.1, and the client of `python -m lab.ask`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Wish = Callable[..., str]


class Control:
    """Grants `wishes` by name: a wish takes JSON arguments by keyword and gives the line to show."""

    def __init__(self, wishes: Mapping[str, Wish]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                arguments = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
                status, text = granted(wishes, self.path.strip("/"), arguments)
                body = text.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                """Silent: what follows from a wish is told as it happens."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


def granted(wishes: Mapping[str, Wish], name: str, arguments: Mapping[str, Any]) -> tuple[int, str]:
    """Status and text; what the world refuses is told in its own words."""
    if name not in wishes:
        return 400, f"{name}: nobody grants that here, only {', '.join(wishes)}"
    try:
        return 200, wishes[name](**arguments)
    except Exception as error:  # noqa: BLE001 - whatever it is, the asker hears of it and the world goes on
        return 400, f"{name}: {error}"


def ask(port: int, name: str, arguments: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether it was granted, and the text. Raises OSError when no world listens there."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", f"/{name}", json.dumps(dict(arguments)).encode())
        answer = connection.getresponse()
        return answer.status == 200, answer.read().decode()
    finally:
        connection.close()
