"""A form with one file as a stream: requests would read the whole video into memory to encode it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

CHUNK = 1 << 20


class FileForm:
    """The body of a multipart/form-data request. `name` must be free of quotes and control characters."""

    def __init__(self, path: Path, name: str, fields: Mapping[str, str]) -> None:
        self._path = path
        boundary = secrets.token_hex(16)
        plain = "".join(f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
                        for key, value in fields.items())  # fmt: skip
        opening = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
        self._head = f"{plain}{opening}Content-Type: application/octet-stream\r\n\r\n".encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self.content_type = f"multipart/form-data; boundary={boundary}"

    def __len__(self) -> int:
        return len(self._head) + self._path.stat().st_size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        with self._path.open("rb") as file:
            yield from iter(lambda: file.read(CHUNK), b"")
        yield self._tail
