"""What a part of the site is asked, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from io import BufferedIOBase
from typing import Any
from urllib.parse import parse_qs, urlsplit

CHUNK = 1 << 16


class NoAnswerError(Exception):
    """The connection is closed without a word."""


@dataclass
class Question:
    """One request; `base` is the address of the asking instance's part of the site."""

    method: str
    target: str
    headers: Message[str, str]
    stream: BufferedIOBase
    instance: str
    base: str

    def __post_init__(self) -> None:
        self._unread = self.length

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {
            key: values[-1] for key, values in parse_qs(urlsplit(self.target).query, keep_blank_values=True).items()
        }

    @property
    def length(self) -> int:
        return int(self.headers.get("Content-Length") or 0)

    def pieces(self) -> Iterator[bytes]:
        """The body, read once."""
        while self._unread > 0 and (piece := self.stream.read(min(CHUNK, self._unread))):
            self._unread -= len(piece)
            yield piece

    def drain(self) -> None:
        """What nobody read would be taken for the next request on this connection."""
        for _ in self.pieces():
            pass

    def body(self) -> bytes:
        return b"".join(self.pieces())

    def json(self) -> dict[str, Any]:
        """An object; anything else counts as an empty one."""
        try:
            content = json.loads(self.body() or b"{}")
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}


@dataclass(frozen=True)
class Answer:
    status: int
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def as_json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})
