"""The backend's worker API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import requests

from comfyui_worker.errors import AwayError, RefusedError
from comfyui_worker.jobs import Job, Lease

TIMEOUT = (5.0, 70.0)
"""Connect and read: a poll may wait up to 50 s for a row's lock, and its answer must not be lost to us."""
BEAT = (5.0, 8.0)
"""Of a heartbeat: whoever waits for one cannot give the job back 10 s before the end; it is soon told again."""
PROVIDERS = ("self_hosted",)
MESSAGE_LENGTH = 300


def new_session() -> requests.Session:
    """For one thread. Without the environment: a .netrc would replace our Authorization header."""
    session = requests.Session()
    session.trust_env = False
    return session


class Backend:
    """One thread's client. Every call raises AwayError (no answer, 5xx) or RefusedError (any other answer but 2xx)."""

    def __init__(self, base_url: str, worker_id: str, token: str = "") -> None:
        self._base_url, self._worker_id = base_url, worker_id
        self._session = new_session()
        self.token = token

    def for_another_thread(self) -> Backend:
        return Backend(self._base_url, self._worker_id, self.token)

    def register(
        self, secret: str, name: str, slugs: Sequence[str], capabilities: Mapping[str, Any], max_concurrency: int
    ) -> str:
        """The worker's token, which the backend shows once; it is used from now on."""
        body = {"worker_id": self._worker_id, "display_name": name, "capabilities": dict(capabilities),
                "max_concurrency": max_concurrency, "workflow_slugs": list(slugs)}  # fmt: skip
        data = self._post("register", body, {"X-Fleet-Secret": secret.encode()})
        if not data.get("token"):
            raise AwayError("register: an answer without a token")
        self.token = str(data["token"])
        return self.token

    def poll(self, max_concurrency: int, capabilities: Mapping[str, Any]) -> Job | None:
        """Only an idle worker polls, so its load is always zero."""
        body = {"worker_id": self._worker_id, "current_load": 0, "max_concurrency": max_concurrency,
                "capabilities": dict(capabilities), "providers": list(PROVIDERS)}  # fmt: skip
        job = self._call("poll", body).get("job")
        try:
            return Job.read(job) if job else None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise AwayError(f"poll: a job that cannot be read ({type(error).__name__})") from None

    def heartbeat(self, lease: Lease) -> None:
        self._call("heartbeat", {**_named(lease), "worker_id": self._worker_id}, BEAT)

    def complete(self, lease: Lease, provider_job_id: str, output: Mapping[str, Any]) -> None:
        """`output` has size in bytes, mime_type and metadata."""
        body = {"worker_id": self._worker_id, "provider_job_id": provider_job_id, "output": dict(output)}
        self._call("complete", {**_named(lease), **body})

    def fail(self, lease: Lease, message: str) -> None:
        self._call("fail", {**_named(lease), "worker_id": self._worker_id, "error_message": message})

    def requeue(self, lease: Lease, reason: str) -> None:
        self._call("requeue", {**_named(lease), "reason": reason})

    def deregister(self) -> None:
        self._call("deregister", {"worker_id": self._worker_id})

    def _call(self, path: str, body: Mapping[str, Any], timeout: tuple[float, float] = TIMEOUT) -> dict[str, Any]:
        return self._post(path, body, {"Authorization": f"Bearer {self.token}"}, timeout)

    def _post(
        self,
        path: str,
        body: Mapping[str, Any],
        headers: Mapping[str, str | bytes],
        timeout: tuple[float, float] = TIMEOUT,
    ) -> dict[str, Any]:
        url = f"{self._base_url}/api/worker/{path}"
        try:
            answer = self._session.post(
                url,
                json=body,
                headers={"Accept": "application/json", **headers},
                timeout=timeout,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise AwayError(f"{path}: {type(error).__name__}") from error
        return _data(path, answer)


def _named(lease: Lease) -> dict[str, Any]:
    return {"dispatch_id": lease.dispatch_id, "lease_token": lease.token}


def _data(path: str, answer: requests.Response) -> dict[str, Any]:
    try:
        content = answer.json()
    except ValueError:
        content = None
    if answer.status_code >= 500 or (answer.ok and not isinstance(content, dict)):
        raise AwayError(f"{path}: HTTP {answer.status_code}")
    if not answer.ok or answer.is_redirect or not content.get("success", True):
        raise RefusedError(answer.status_code, f"{path}: {_message(content)}", _retry_after(answer))
    return content.get("data") or {}


def _message(content: Any) -> str:
    message = content.get("message") if isinstance(content, dict) else None
    return str(message or "no reason given")[:MESSAGE_LENGTH]


def _retry_after(answer: requests.Response) -> float | None:
    """In seconds; a date or nonsense counts as not given."""
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None
