"""Files over pre-signed URLs, as streams. No URL ever reaches an error or the log: its query is a credential."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidHeader, InvalidSchema, InvalidURL, MissingSchema

from comfyui_worker.backend import new_session
from comfyui_worker.errors import JobFailedError, StorageAwayError

CHUNK = 1 << 20
TIMEOUT = (5.0, 30.0)
"""Connect and read, the latter between two pieces of a stream."""
TRANSIENT = frozenset({408, 425, 429})
NOT_SERVED = (InvalidHeader, InvalidSchema, InvalidURL, MissingSchema)
Check = Callable[[], None]


def storage_session(prefix: str) -> requests.Session:
    """Asks addresses that begin with `prefix`, and no other: a payload may name any."""
    session = new_session()
    session.adapters.clear()
    session.mount(prefix, HTTPAdapter())
    return session


def download(session: requests.Session, url: str, path: Path, what: str, check: Check, *, max_bytes: int) -> str:
    """The content's SHA-256. Raises StorageAwayError when it may work later, JobFailedError when the storage refuses,
    or when there is more than `max_bytes` of it: a full disk would be the next worker's, too.

    `check` is called between pieces and may raise to stop. No redirection is followed: a signed address names its file.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with session.get(url, stream=True, timeout=TIMEOUT, allow_redirects=False) as answer, path.open("wb") as file:
            _accept(answer, what)
            for piece in answer.iter_content(CHUNK):
                check()
                size += len(piece)
                if size > max_bytes:
                    raise JobFailedError(f"the {what} is larger than {max_bytes} bytes")
                digest.update(piece)
                file.write(piece)
    except NOT_SERVED:
        raise JobFailedError(f"the {what} has an address that is not served") from None
    except requests.RequestException as error:
        raise StorageAwayError(f"{what}: {type(error).__name__}") from None
    return digest.hexdigest()


def upload(session: requests.Session, url: str, headers: Mapping[str, str], path: Path, check: Check) -> None:
    """PUT with a known length, since storage takes no chunked encoding. Raises as `download` does."""
    try:
        with path.open("rb") as file:
            body = _Watched(iter(lambda: file.read(CHUNK), b""), path.stat().st_size, check)
            answer = session.put(url, data=body, headers=dict(headers), timeout=TIMEOUT, allow_redirects=False)
    except NOT_SERVED:
        raise JobFailedError("the output has an address that is not served") from None
    except requests.RequestException as error:
        raise StorageAwayError(f"output: {type(error).__name__}") from None
    _accept(answer, "output")


class _Watched:
    """A stream of known length that looks before each piece whether it is still wanted."""

    def __init__(self, pieces: Iterator[bytes], length: int, check: Check) -> None:
        self._pieces, self._length, self._check = pieces, length, check

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self._check()
            yield piece


def _accept(answer: requests.Response, what: str) -> None:
    if answer.status_code >= 500 or answer.status_code in TRANSIENT:
        raise StorageAwayError(f"{what}: storage answers HTTP {answer.status_code}")
    if not 200 <= answer.status_code < 300:
        raise JobFailedError(f"the {what} could not be transferred: storage answers HTTP {answer.status_code}")
