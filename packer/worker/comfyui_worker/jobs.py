"""A job as the backend hands it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Lease:
    """What every call about a job must name; the token fences off whoever held the job before."""

    dispatch_id: int
    token: str = field(repr=False)


@dataclass(frozen=True)
class Job:
    """`input_url` and `output_url` are pre-signed and as good as secrets: they are never logged."""

    lease: Lease
    provider: str
    payload: Mapping[str, Any] = field(repr=False)
    input_url: str | None = field(repr=False)
    output_url: str = field(repr=False)
    output_headers: Mapping[str, str] = field(repr=False)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Job:
        """From `data.job` of a poll. Raises KeyError or ValueError when it names no dispatch or lease."""
        return cls(
            lease=Lease(int(data["dispatch_id"]), str(data["lease_token"])),
            provider=str(data.get("provider") or ""),
            payload=data.get("input_payload") or {},
            input_url=data.get("input_url") or None,
            output_url=str(data.get("output_url") or ""),
            output_headers=_headers(data.get("output_headers") or {}),
        )


def _headers(given: Any) -> dict[str, str]:
    """Laravel's signer gives each header as a list, an empty set of them as `[]`; Host is the client's own to say."""
    if not isinstance(given, Mapping):
        return {}
    single = {str(name): value[0] if isinstance(value, list) and value else value for name, value in given.items()}
    return {name: str(value) for name, value in single.items() if name.lower() != "host" and value not in (None, [])}
