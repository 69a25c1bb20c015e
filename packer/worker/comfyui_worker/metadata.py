"""The instance metadata service, version 2: every answer needs a token, and tokens run out."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import requests

from comfyui_worker.backend import new_session
from comfyui_worker.errors import AwayError

TOKEN_SECONDS = 21_600
TIMEOUT = 2.0


@dataclass(frozen=True)
class SpotNotice:
    """`action` is terminate, stop or hibernate; `at` is when EC2 carries it out."""

    action: str
    at: datetime

    def seconds_left(self, now: datetime) -> float:
        return (self.at - now).total_seconds()


class Metadata:
    """One thread's client. Raises AwayError when the service does not answer, as outside EC2."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._session = new_session()
        self._token, self._renew_at = "", 0.0

    def spot_notice(self) -> SpotNotice | None:
        """None as long as EC2 has announced nothing."""
        answer = self._get("spot/instance-action")
        if answer.status_code == 401:  # the token was taken from us early, as after a hibernation
            self._token = ""
            answer = self._get("spot/instance-action")
        if answer.status_code == 404:
            return None
        if not answer.ok:
            raise AwayError(f"metadata: HTTP {answer.status_code}")
        return _notice(answer.text)

    def _get(self, item: str) -> requests.Response:
        headers = {"X-aws-ec2-metadata-token": self._valid_token()}
        return self._ask("GET", f"/latest/meta-data/{item}", headers)

    def _valid_token(self) -> str:
        if not self._token or time.monotonic() > self._renew_at:
            headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
            answer = self._ask("PUT", "/latest/api/token", headers)
            if not answer.ok:
                raise AwayError(f"metadata token: HTTP {answer.status_code}")
            self._token, self._renew_at = answer.text.strip(), time.monotonic() + TOKEN_SECONDS / 2
        return self._token

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> requests.Response:
        try:
            return self._session.request(method, self._base_url + path, headers=headers, timeout=TIMEOUT)
        except requests.RequestException as error:
            raise AwayError(f"metadata: {type(error).__name__}") from error


def _notice(text: str) -> SpotNotice:
    try:
        said = json.loads(text)
        return SpotNotice(str(said["action"]), datetime.fromisoformat(said["time"]).astimezone(UTC))
    except (ValueError, KeyError, TypeError) as error:
        raise AwayError("metadata: a notice that cannot be read") from error
