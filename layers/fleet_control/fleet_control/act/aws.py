"""The one way an AWS client is made: bounded in time, retried by the SDK, kept for the execution environment."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import boto3
from botocore.config import Config

# Two calls that nobody answers, waits between their attempts included, end before the function is timed out at 30 s:
# then it says what it could not reach, and what it holds is let go.
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 2, 5, 2
_CONFIG = Config(
    connect_timeout=CONNECT_SECONDS,
    read_timeout=READ_SECONDS,
    retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
)


@cache
def client(service: str) -> Any:
    """A client of the execution environment's region and endpoint. Callers annotate what they get."""
    return boto3.client(service, config=_CONFIG)  # type: ignore[call-overload]


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
