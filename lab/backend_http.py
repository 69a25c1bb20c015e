"""The backend's worker API over HTTP: its envelope, its codes, its quirks; lab.backend's statements behind it."""

from __future__ import annotations

import datetime as dt
import hmac
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lab.backend import LEASE, Backend, Job, RefusedError, php_now
from lab.payloads import Payloads
from lab.sessions import AwayError
from lab.site.answers import Answer, Question, as_json
from lab.site.storage import Storage

if TYPE_CHECKING:
    from lab.mariadb import Connection

PREFIX = "/api/worker/"
NEEDED: dict[str, tuple[str, ...]] = {
    "register": ("worker_id", "workflow_slugs"),
    "poll": ("worker_id",),
    "heartbeat": ("dispatch_id", "lease_token", "worker_id"),
    "complete": ("dispatch_id", "lease_token", "worker_id", "provider_job_id", "output"),
    "fail": ("dispatch_id", "lease_token", "worker_id", "error_message"),
    "requeue": ("dispatch_id", "lease_token", "reason"),
    "deregister": (),
}
Body = Mapping[str, Any]


class BackendApi:
    """Answers `/api/worker/*`; threads share it. `registrations_per_minute` is per source address, one for all here."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        storage: Storage,
        fleet_secret: str,
        *,
        registrations_per_minute: int | None = 10,
        lease: dt.timedelta = LEASE,
        token_mark: str = "",
    ) -> None:
        self._connect, self._storage, self._secret = connect, storage, fleet_secret
        self._settings: dict[str, Any] = {
            "registrations_per_minute": registrations_per_minute,
            "lease": lease,
            "token_mark": token_mark,
        }
        self._lease = lease
        self._free: list[tuple[Backend, Payloads]] = []

    def answer(self, question: Question) -> Answer:
        call = question.path.removeprefix(PREFIX)
        if call not in NEEDED or question.method != "POST":
            return _envelope(404, message="no such route")
        body = question.json()
        missing = [name for name in NEEDED[call] if body.get(name) in (None, "", [])]
        try:
            if missing:
                raise RefusedError(422, f"missing: {', '.join(missing)}")
            return _envelope(
                200, self._register(question, body) if call == "register" else self._do(call, question, body)
            )
        except RefusedError as refused:
            headers = {"Retry-After": "60"} if refused.status == 429 else {}
            return _envelope(refused.status, message=str(refused).partition(" ")[2], headers=headers)
        except AwayError:
            return _envelope(500, message="Server Error")

    def close(self) -> None:
        while self._free:
            for session in self._free.pop():
                session.close()

    def _register(self, question: Question, body: Body) -> dict[str, Any]:
        if not hmac.compare_digest(question.headers.get("X-Fleet-Secret", ""), self._secret):
            raise RefusedError(401, "bad fleet secret")
        with self._sessions() as (backend, _):
            slugs = body["workflow_slugs"]
            token = backend.register(body["worker_id"], slugs, max_concurrency=int(body.get("max_concurrency") or 1))
        return {"worker_id": body["worker_id"], "token": token, "workflows_assigned": slugs}

    def _do(self, call: str, question: Question, body: Body) -> dict[str, Any] | None:
        kind, _, token = question.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or not token:
            raise RefusedError(401, "no token")
        with self._sessions() as (backend, payloads):
            if call == "poll":
                return self._poll(backend, payloads, token, question, body)
            if call == "deregister":
                backend.deregister(token)
            elif call in ("fail", "requeue"):
                told = backend.fail if call == "fail" else backend.requeue
                told(token, body["dispatch_id"], body["lease_token"], body.get("error_message") or body["reason"])
            else:
                told_of = backend.heartbeat if call == "heartbeat" else backend.complete
                told_of(token, body["dispatch_id"], body["lease_token"])
        return None

    def _poll(self, backend: Backend, payloads: Payloads, token: str, question: Question, body: Body) -> dict[str, Any]:
        load, most = int(body.get("current_load") or 0), int(body.get("max_concurrency") or 1)
        if "self_hosted" not in (body.get("providers") or ["self_hosted"]):
            return {"job": None}
        job = backend.poll(token, current_load=load, max_concurrency=most)
        return {"job": self._handed_out(job, payloads, question.base) if job else None}

    def _handed_out(self, job: Job, payloads: Payloads, base: str) -> dict[str, Any]:
        seconds = payloads.seconds(job.tenant_id, job.tenant_job_id)
        urls = self._storage.sign(base, job.tenant_id, job.tenant_job_id)
        return {
            "dispatch_id": job.dispatch_id,
            "lease_token": job.lease_token,
            "lease_expires_at": f"{php_now() + self._lease:%Y-%m-%dT%H:%M:%S.000000Z}",
            "provider": "self_hosted",
            "tenant_id": job.tenant_id,
            "job_id": job.tenant_job_id,
            "effect_id": 1,
            "input_payload": self._storage.payload(job.tenant_job_id, seconds, urls),
            "input_url": urls.input,
            "output_url": urls.output,
            "output_headers": {
                "Content-Type": ["video/mp4"],
                "Host": ["media.example"],
            },  # lists, as Laravel signs them
        }

    @contextmanager
    def _sessions(self) -> Iterator[tuple[Backend, Payloads]]:
        """A pair that no other thread uses now: as many as there are requests at once."""
        try:
            pair = self._free.pop()
        except IndexError:
            backend = Backend(self._connect, **self._settings)
            pair = (backend, Payloads(self._connect))
        try:
            yield pair
        except AwayError:
            # All have gone with the server. One left broken would let a poll lease a job and then lose its answer.
            for session in pair:
                session.close()
            self.close()
            raise
        finally:
            self._free.append(pair)


def _envelope(
    status: int, data: dict[str, Any] | None = None, message: str = "", headers: Mapping[str, str] | None = None
) -> Answer:
    content = {"success": status < 400, "data": data, "message": message or "OK"}
    return as_json(content, status, headers)
