"""The one way an AWS client is made: bounded in time, retried by the SDK, kept for the execution environment."""

from __future__ import annotations

from functools import cache
from typing import Any

import boto3
from botocore.config import Config

_CONFIG = Config(connect_timeout=3, read_timeout=8, retries={"mode": "standard", "total_max_attempts": 3})


@cache
def client(service: str) -> Any:
    """A client of the execution environment's region and endpoint. Callers annotate what they get."""
    return boto3.client(service, config=_CONFIG)  # type: ignore[call-overload]
