"""moto's server in a thread of this process."""

from __future__ import annotations

import threading
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

POLL_SECONDS = 0.02
"""How soon the server notices that it shall stop; moto's own takes half a second, which tests pay each time."""


class MotoServer:
    """Serves every AWS API on 127.0.0.1; port 0 is any free one. Raises SystemExit when a given port is taken."""

    def __init__(self, port: int = 0) -> None:
        application: Any = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", port, application, threaded=True, request_handler=MotoRequestHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL_SECONDS,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(5)
        self._server.server_close()
