"""The one way an AWS client is made: bounded in time, retried by the SDK, kept for the execution environment.

Clients are botocore's own, which boto3's are as well: what boto3 adds, transfers to S3 above all, costs every cold
start an import and is used by nobody here.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.loaders import JSONFileLoader
from botocore.session import Session
from pydantic_core import from_json

# Two calls that nobody answers, waits between their attempts included, end before the function is timed out at 30 s:
# then it says what it could not reach, and what it holds is let go.
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 2, 5, 2
_CONFIG = Config(
    connect_timeout=CONNECT_SECONDS,
    read_timeout=READ_SECONDS,
    retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
)


class _PlainDicts(JSONFileLoader):
    """Reads the SDK's descriptions of services into plain dicts, which keep their order as its ordered ones do.

    Those are built by a call in Python for every object of megabytes of JSON: a fifth to a third of a client's cost.
    The method is botocore's own affair, and the SDK is the runtime's: one that calls it otherwise, or not at all, only
    starts more slowly.
    """

    def _load_file(self, *where: Any, **more: Any) -> Any:
        match where:
            case (str() as path, opens) if callable(opens) and not more and Path(path).is_file():
                with opens(path, "rb") as file:
                    return from_json(file.read())
        return super()._load_file(*where, **more)  # type: ignore[misc] # private, so the stubs leave it out


@cache
def _session() -> Session:
    """One for all clients, so that what they share is read once."""
    session = Session()
    session.get_component("data_loader").file_loader = _PlainDicts()
    return session


@cache
def client(service: str) -> Any:
    """A client of the execution environment's region and endpoint. Callers annotate what they get."""
    return _session().create_client(service, config=_CONFIG)


def later(service: str) -> Any:
    """A client that is made when it is first asked for anything, for services that most invocations never call."""
    return _Later(service)


class _Later:
    def __init__(self, service: str) -> None:
        self._service = service

    def __getattr__(self, name: str) -> Any:
        return getattr(client(self._service), name)


def parse_only(client: Any, operation: str, *fields: str) -> None:
    """From now on the client's answers to an operation hold only these fields of XML, beside empty structures.

    Most of what AWS says of an instance nobody reads, and of thousands the SDK takes seconds a look to parse it. Taken
    out are leaves with a text and structures of nothing else, so that an empty list stays one; an error keeps its text.
    It is a saving and nothing more: where the SDK no longer calls this, the answers are whole and as good.
    """
    kept = "|".join(fields).encode()
    leaf = rb"<(?!(?:%b)>)(\w+)>[^<\s][^<]*</\%%d>" % kept
    structure = rb"<(?!(?:%b)>)(\w+)>\s*(?:%b\s*)+</\1>" % (kept, leaf % 2)
    unread = re.compile(structure + b"|" + leaf % 3)

    def trim(response_dict: dict[str, Any], **_: object) -> None:
        status, body = response_dict.get("status_code"), response_dict.get("body")
        if isinstance(status, int) and status < 300 and isinstance(body, bytes):
            response_dict["body"] = unread.sub(b"", body)

    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register(f"before-parse.{service}.{operation}", trim, unique_id=f"parse-only-{operation}")
