"""AWS as one HTTP server of prepared answers: real boto3, real pages, every request counted, nothing computed."""

from __future__ import annotations

import gzip
import json
import threading
from collections import Counter
from collections.abc import Mapping
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from bench.pages import activities_page, groups_page, instances_page, members
from bench.scale import Scale

GROUPS_A_PAGE = 100
INSTANCES_A_PAGE = 1_000


class Cloud:
    """`secrets` are JSON texts by the last part of a secret's name."""

    def __init__(self, scale: Scale, secrets: Mapping[str, str]) -> None:
        self._secrets = secrets
        self.calls: Counter[str] = Counter()
        self._scale = scale
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def show(self, scale: Scale) -> None:
        """Answer for a stage of this size from now on; its pages are prepared at once."""
        self._scale = scale
        _groups.cache_clear()
        _instances.cache_clear()
        for start in range(0, scale.fleets, GROUPS_A_PAGE):
            _groups(scale, start)
        for start in range(0, scale.fleets * (scale.crew + 1), INSTANCES_A_PAGE):
            _instances(scale, start)

    def __enter__(self) -> Cloud:
        self.show(self._scale)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, operation: str, fields: dict[str, Any]) -> bytes:
        """The body of one answer; `fields` are the request's. What nobody prepared for finds nothing."""
        self.calls[operation] += 1
        if operation == "GetSecretValue":
            name = fields["SecretId"].rpartition("/")[2]
            return json.dumps({"Name": name, "SecretString": self._secrets[name]}).encode()
        if operation == "DescribeAutoScalingGroups":
            return _groups(self._scale, int(fields.get("NextToken", 0)))
        if operation == "DescribeInstances":
            return self._described(fields)
        if operation == "DescribeScalingActivities":
            return _activities(fields["AutoScalingGroupName"], int(fields["MaxRecords"]))
        if "Action" in fields:
            return _answered(operation, "")
        return json.dumps({"executions": []} if operation == "ListExecutions" else {}).encode()

    def _described(self, fields: dict[str, str]) -> bytes:
        wanted = _filters(fields)
        if "instance-id" in wanted:
            return instances_page(wanted["instance-id"], "").encode()
        if "fleet:rebalance-recommended" in wanted.get("tag-key", ()):
            return instances_page((), "").encode()  # EC2 recommends nothing
        if "instance-state-name" in wanted and "running" not in wanted["instance-state-name"]:
            return instances_page((), "").encode()  # the stage is at rest: every instance runs
        return _instances(self._scale, int(fields.get("NextToken", 0)))


def _answered(operation: str, found: str) -> bytes:
    return f"<{operation}Response><{operation}Result>{found}</{operation}Result></{operation}Response>".encode()


@cache
def _activities(group: str, most: int) -> bytes:
    return activities_page(group, most).encode()


@cache
def _groups(scale: Scale, start: int) -> bytes:
    end = min(start + GROUPS_A_PAGE, scale.fleets)
    return groups_page(scale, range(start, end), str(end) if end < scale.fleets else "").encode()


@cache
def _instances(scale: Scale, start: int) -> bytes:
    ids = [one for fleet in range(scale.fleets) for one in members(scale, fleet)]
    end = start + INSTANCES_A_PAGE
    return instances_page(ids[start:end], str(end) if end < len(ids) else "").encode()


def _filters(fields: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in fields.items():
        parts = key.split(".")
        if parts[0] == "Filter" and parts[2] == "Value":
            found.setdefault(fields[f"Filter.{parts[1]}.Name"], []).append(value)
    return found


def _fields(kind: str, body: bytes) -> dict[str, Any]:
    if "urlencoded" in kind:
        return dict(parse_qsl(body.decode()))
    return dict(json.loads(body)) if "json" in kind else {}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.cloud = cloud


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or every small answer waits 40 ms for an acknowledgement
    server: _Server

    def do_GET(self) -> None:
        self._send(json.dumps(self.server.cloud.calls).encode(), "application/json")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        kind = self.headers.get("Content-Type", "")
        fields = _fields(kind, body)
        target = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        operation = fields.get("Action") or target or self.path.rpartition("/")[2]
        answer = self.server.cloud.answer(operation, fields)
        cbor = "cbor" in kind
        self._send(b"\xa0" if cbor else answer, kind or "text/xml", cbor=cbor)

    def _send(self, body: bytes, kind: str, *, cbor: bool = False) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if cbor:
            self.send_header("smithy-protocol", "rpc-v2-cbor")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Silent: the calls are counted."""
