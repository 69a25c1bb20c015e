"""The answer CloudFormation waits for: one PUT to a signed URL, or the stack hangs for an hour."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from threading import Lock, Timer
from typing import Literal
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from fleet_control.errors import BadEvent, FleetControlError

ATTEMPTS = 4
PUT_SECONDS = 5
BACKOFF_SECONDS = 0.4
# An answer is cut at 4,096 bytes by CloudFormation; most of it is the reason.
MAX_REASON = 1_500
# What a last answer needs before Lambda ends us.
MARGIN_SECONDS = 6.0

Send = Callable[[str, bytes], None]


class AnswerNotSent(FleetControlError):  # noqa: N818 - what happened, like its siblings
    """CloudFormation could not be told the outcome; the invocation must fail, so that Lambda repeats it."""

    reason = "answer not sent"


def put(url: str, body: bytes) -> None:
    """Retries; the content type must be empty, since the signature covers it. Raises AnswerNotSent."""
    if not _is_web_address(url):
        raise BadEvent("the ResponseURL is not a web address")
    request = Request(url, data=body, method="PUT", headers={"Content-Type": ""})  # noqa: S310 - scheme checked
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with urlopen(request, timeout=PUT_SECONDS):  # noqa: S310 - scheme checked
                return
        except (OSError, HTTPException) as error:
            if attempt == ATTEMPTS:
                # The error's type only: its text may hold the signed URL.
                raise AnswerNotSent(f"ResponseURL: {type(error).__name__} at attempt {attempt}") from None
            time.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return url.isascii() and parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


@dataclass
class Answer:
    """Answers one request once, whoever comes first: the work, or the time-out."""

    url: str
    stack_id: str
    request_id: str
    logical_id: str
    physical_id: str
    send: Send = put
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)
    _sent: bool = field(default=False, init=False)

    def success(self, data: Mapping[str, str]) -> None:
        """`data` is what Fn::GetAtt reads."""
        self._put("SUCCESS", "", data)

    def failed(self, reason: str) -> None:
        """`reason` is shown to the operator: no secrets in it."""
        self._put("FAILED", reason[:MAX_REASON], {})

    @contextmanager
    def before_timeout(self, remaining_seconds: float) -> Iterator[None]:
        """Fails the request by itself shortly before Lambda would end us unheard."""
        delay = max(0.0, remaining_seconds - MARGIN_SECONDS)
        timer = Timer(delay, self.failed, ["ran out of time; the function's log says at what"])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _put(self, status: Literal["SUCCESS", "FAILED"], reason: str, data: Mapping[str, str]) -> None:
        with self._lock:
            if self._sent:
                return
            body = {
                "Status": status,
                "Reason": reason,
                "PhysicalResourceId": self.physical_id,
                "StackId": self.stack_id,
                "RequestId": self.request_id,
                "LogicalResourceId": self.logical_id,
                "Data": dict(data),
            }
            self.send(self.url, json.dumps(body).encode())
            self._sent = True
