"""Storage behind pre-signed URLs, as S3 behaves: signatures, time limits, no chunked uploads. Keeps digests only."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.site.answers import Answer, Question

PREFIX = "/storage/"


@dataclass(frozen=True)
class Urls:
    input: str
    output: str


@dataclass(frozen=True)
class Stored:
    """One upload that came through to its end."""

    instance: str
    size: int
    sha256: str


class Storage:
    """`inputs` are contents by job; a job without one has a small default. `away` makes it answer 503."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(16)
        self.inputs: dict[int, bytes] = {}
        self.payloads: dict[int, dict[str, Any]] = {}
        self.downloads: list[str] = []
        self.uploads: dict[int, list[Stored]] = {}
        self.away = False
        self.valid_seconds = 3600

    def sign(self, base: str, tenant: str, job: int) -> Urls:
        folder = f"{PREFIX}tenants/{tenant}/ai-jobs/{job}"
        return Urls(self.url(base, "GET", f"{folder}/input.png"), self.url(base, "PUT", f"{folder}/output-lab.mp4"))

    def url(self, base: str, method: str, path: str) -> str:
        expires = int(time.time() + self.valid_seconds)
        return f"{base}{path}?Expires={expires}&Signature={self._signature(method, path, expires)}"

    def payload(self, job: int, seconds: float, urls: Urls) -> dict[str, Any]:
        """A workflow of `seconds` of work; `payloads` may add to it, `{base}` in an asset's path being its address."""
        base = urls.input.partition(PREFIX)[0]
        extra = dict(self.payloads.get(job, {}))
        extra["assets"] = [self._asset(base, asset) for asset in extra.get("assets", [])]
        return {"workflow": graph(seconds), "output_node_id": "9", **extra}

    def answer(self, question: Question) -> Answer:
        if self.away:
            return Answer(503)
        if not self._allowed(question):
            return Answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        if question.method == "GET":
            self.downloads.append(question.path)
            return Answer(200, self._content(question.path))
        return self._put(question)

    def _asset(self, base: str, asset: Mapping[str, Any]) -> dict[str, Any]:
        return {**asset, "download_url": self.url(base, "GET", f"{PREFIX}{asset['download_url']}")}

    def _content(self, path: str) -> bytes:
        parts = path.split("/")
        if "ai-jobs" not in parts:
            return path.encode()  # an asset is its own name
        return self.inputs.get(int(parts[-2]), b"an image")

    def _put(self, question: Question) -> Answer:
        if "Content-Length" not in question.headers:
            return Answer(411)
        digest, size = hashlib.sha256(), 0
        for piece in question.pieces():
            digest.update(piece)
            size += len(piece)
        if size == question.length:
            job = int(question.path.split("/")[-2])
            self.uploads.setdefault(job, []).append(Stored(question.instance, size, digest.hexdigest()))
        return Answer(200)

    def _allowed(self, question: Question) -> bool:
        query = question.query
        expires = query.get("Expires", "0")
        signed = self._signature(question.method, question.path, int(expires))
        return time.time() < int(expires) and hmac.compare_digest(signed, query.get("Signature", ""))

    def _signature(self, method: str, path: str, expires: int) -> str:
        return hmac.new(self._key, f"{method} {path} {expires}".encode(), "sha256").hexdigest()


def graph(seconds: float) -> dict[str, Any]:
    """In ComfyUI's API format; `LabRender` is the fake's own node, and takes its time."""
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": "__INPUT_PATH__"}},
        "2": {"class_type": "LabRender", "inputs": {"image": ["1", 0], "seconds": seconds}},
        "9": {"class_type": "SaveVideo", "inputs": {"video": ["2", 0]}},
    }
