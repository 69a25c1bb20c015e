"""The server of the site, and how each instance stands in it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from lab.site import comfyui, metadata, storage
from lab.site.answers import Answer, NoAnswerError, Question
from lab.site.comfyui import FakeComfyUi
from lab.site.metadata import FakeMetadata

POLL_SECONDS = 0.05


class Api(Protocol):
    def answer(self, question: Question) -> Answer: ...


@dataclass
class Instance:
    """`cut_off`: no packet leaves or reaches it but those to itself and to the metadata service."""

    comfyui: FakeComfyUi = field(default_factory=FakeComfyUi)
    metadata: FakeMetadata = field(default_factory=FakeMetadata)
    cut_off: bool = False
    lost_answers: frozenset[str] = frozenset()
    """These calls to the backend are carried out, and their answers get lost."""
    calls: list[str] = field(default_factory=list)


class Site:
    """Serves on 127.0.0.1; instances appear when they are first spoken of."""

    def __init__(self, api: Api, files: storage.Storage, control: Callable[[Question], Answer] | None = None) -> None:
        self._api, self._files, self._control = api, files, control
        self._lock = threading.Lock()
        self._instances: dict[str, Instance] = {}
        self._server = _Server(("127.0.0.1", 0), _handler(self.answer))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL_SECONDS,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def base(self, instance: str) -> str:
        """The address that an instance's worker takes for the backend's, and for everything else."""
        return f"{self.url}/i/{instance}"

    def instance(self, name: str) -> Instance:
        with self._lock:
            return self._instances.setdefault(name, Instance())

    def boot(self, name: str, seconds: float) -> None:
        """A new machine, whose ComfyUI will be up after `seconds`."""
        with self._lock:
            self._instances[name] = Instance(FakeComfyUi(seconds))

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        for instance in self._instances.values():
            instance.comfyui.set_state(comfyui.DEAD)
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, target: str, request: BaseHTTPRequestHandler) -> Answer:
        """Raises NoAnswerError when the asker hears nothing."""
        _, part, name, rest = [*target.split("/", 3), "", "", ""][:4]
        base = self.base(name)
        question = Question(method, f"/{rest}", request.headers, request.rfile, name, base)
        said = self._routed(part, question)
        question.drain()
        return said

    def _routed(self, part: str, question: Question) -> Answer:
        if part == "control" and self._control:
            return self._control(question)
        return self._of_instance(self.instance(question.instance), question) if part == "i" else Answer(404)

    def _of_instance(self, instance: Instance, question: Question) -> Answer:
        if question.path.startswith(comfyui.PREFIX):
            return instance.comfyui.answer(question)
        if question.path.startswith(metadata.PREFIX):
            return instance.metadata.answer(question)
        if instance.cut_off:
            raise NoAnswerError
        if question.path.startswith(storage.PREFIX):
            return self._files.answer(question)
        return self._of_backend(instance, question)

    def _of_backend(self, instance: Instance, question: Question) -> Answer:
        call = question.path.rpartition("/")[2]
        instance.calls.append(call)
        answer = self._api.answer(question)
        if call in instance.lost_answers:
            raise NoAnswerError
        return answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A worker that is killed in the middle of a request is no error of the server's."""


def _handler(answer: Callable[[str, str, BaseHTTPRequestHandler], Answer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # head and body leave in one packet

        def setup(self) -> None:
            super().setup()
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

        def _serve(self) -> None:
            try:
                said = answer(self.command, self.path, self)
            except NoAnswerError:
                self.close_connection = True
                self.connection.close()
                return
            self.send_response_only(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(said.content)))
            self.end_headers()
            self.wfile.write(said.content)

        do_GET = do_POST = do_PUT = _serve  # noqa: N815 - http.server's names

    return Handler
