"""Custom resources: the event CloudFormation sends, and the address it waits at for the answer."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lab.cloud.functions import Functions
from lab.cloud.names import ACCOUNT, REGION

Answer = dict[str, Any]


class CustomResourceError(RuntimeError):
    """A custom resource answered FAILED, or not at all within its time."""


class ResponseDesk:
    """Stands where CloudFormation has pre-signed URLs; one address a request."""

    def __init__(self) -> None:
        self._answers: dict[str, Answer] = {}
        self._arrived = threading.Condition()
        desk = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                desk.take(self.path.partition("?")[0], json.loads(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def url(self, request_id: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/{request_id}?X-Amz-Signature=lab"

    def take(self, path: str, answer: Answer) -> None:
        with self._arrived:
            self._answers[path.strip("/")] = answer
            self._arrived.notify_all()

    def wait(self, request_id: str, seconds: float) -> Answer | None:
        with self._arrived:
            self._arrived.wait_for(lambda: request_id in self._answers, seconds)
            return self._answers.get(request_id)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def response_desk() -> Iterator[ResponseDesk]:
    desk = ResponseDesk()
    try:
        yield desk
    finally:
        desk.close()


def create(
    functions: Functions, desk: ResponseDesk, logical_id: str, kind: str, properties: Mapping[str, Any]
) -> Answer:
    """Send the Create event of a custom resource and wait for SUCCESS. Raises CustomResourceError otherwise."""
    request_id = str(uuid.uuid4())
    event = {
        "RequestType": "Create",
        "ServiceToken": properties["ServiceToken"],
        "ResponseURL": desk.url(request_id),
        "StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/lab/{uuid.uuid4()}",
        "RequestId": request_id,
        "LogicalResourceId": logical_id,
        "ResourceType": kind,
        "ResourceProperties": {key: as_text(value) for key, value in properties.items() if key != "ServiceTimeout"},
    }
    functions.invoke_async(properties["ServiceToken"], json.dumps(event).encode())
    answer = desk.wait(request_id, float(properties.get("ServiceTimeout", 60)))
    if answer is None:
        raise CustomResourceError(f"{logical_id}: no answer in time")
    if answer.get("Status") != "SUCCESS":
        raise CustomResourceError(f"{logical_id}: {answer.get('Reason', 'no reason given')}")
    return answer


def as_text(value: Any) -> Any:
    """CloudFormation sends every scalar of a custom resource's properties as a string."""
    if isinstance(value, dict):
        return {key: as_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_text(item) for item in value]
    return str(value).lower() if isinstance(value, bool) else str(value)
