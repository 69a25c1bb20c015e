"""One simulated GPU worker, a process of its own: boots, registers, polls, works, heartbeats, completes.

    python -m lab.worker --instance-id i-0abc --slugs image-to-video --port 3306 --ca-file ca.pem

The password comes in LAB_DB_PASSWORD, what its token begins with in LAB_TOKEN_MARK. Each thing it does is a JSON line
on stdout, so that an observer knows to the millisecond who worked on what. It ends when it is killed, like the instance
it stands for.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.cursors import DictCursor

from lab.backend import Backend, Job, RefusedError
from lab.payloads import Payloads
from lab.sessions import AwayError

if TYPE_CHECKING:
    from lab.mariadb import Connection

Clock = Callable[[], float]


class Worker:
    """The field's worker: one job at a time, heartbeats while working (or silence, as older ones keep)."""

    def __init__(self, options: argparse.Namespace, backend: Backend, payloads: Payloads) -> None:
        self.options = options
        self.backend = backend
        self.payloads = payloads
        self.token = ""

    def run(self) -> None:
        self.say("booting", seconds=self.options.boot_seconds)
        time.sleep(self.options.boot_seconds)
        self.token = self.persist(lambda: self.backend.register(self.options.instance_id, self.options.slugs))
        self.say("registered")
        while True:
            job = self.persist(lambda: self.backend.poll(self.token))
            if job is None:
                time.sleep(self.options.poll_seconds)
            else:
                self.work(job)

    def work(self, job: Job) -> None:
        self.say("leased", dispatch_id=job.dispatch_id, attempt=job.attempts)
        try:
            self.render(job, self.persist(lambda: self.payloads.seconds(job.tenant_id, job.tenant_job_id)))
            self.persist(lambda: self.backend.complete(self.token, job.dispatch_id, job.lease_token))
        except RefusedError as refused:
            self.say("fenced", dispatch_id=job.dispatch_id, status=refused.status)
        else:
            self.say("completed", dispatch_id=job.dispatch_id)

    def render(self, job: Job, seconds: float) -> None:
        end, pause = time.monotonic() + seconds, self.options.heartbeat_seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, pause))
            if left > pause and not self.options.silent:
                self.persist(lambda: self.backend.heartbeat(self.token, job.dispatch_id, job.lease_token))

    def persist(self, call: Callable[[], Any]) -> Any:
        """Ask again while the backend is away or throttles; any other refusal is raised."""
        while True:
            try:
                return call()
            except AwayError as away:
                self.say("backend_away", error=str(away))
            except RefusedError as refused:
                if refused.status != 429:
                    raise
                self.say("throttled")
            time.sleep(self.options.poll_seconds)

    def say(self, event: str, **fields: Any) -> None:
        entry = {"t": round(time.time(), 4), "kind": "worker", "instance": self.options.instance_id, "event": event}
        print(json.dumps({**entry, **fields}), flush=True)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lab.worker")
    parser.add_argument("--instance-id", required=True)
    parser.add_argument("--slugs", required=True, nargs="+")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--user", default="backend")
    parser.add_argument("--ca-file", required=True)
    parser.add_argument("--boot-seconds", type=float, default=5.0)
    parser.add_argument("--poll-seconds", type=float, default=3.0)
    parser.add_argument("--heartbeat-seconds", type=float, default=30.0)
    parser.add_argument("--registrations-per-minute", type=int, default=10)
    parser.add_argument("--silent", action="store_true", help="no heartbeats while working, as older workers behave")
    return parser.parse_args(arguments)


def connector(options: argparse.Namespace, password: str) -> Callable[[], Connection]:
    def connect() -> Connection:
        return pymysql.connect(
            host=options.host,
            port=options.port,
            user=options.user,
            password=password,
            database="bp",
            charset="utf8mb4",
            autocommit=True,
            cursorclass=DictCursor,
            connect_timeout=3,
            ssl_ca=options.ca_file,
            ssl_verify_cert=True,
            ssl_verify_identity=True,
        )

    return connect


def main() -> None:
    options = parse()
    connect = connector(options, os.environ.get("LAB_DB_PASSWORD", ""))
    mark = os.environ.get("LAB_TOKEN_MARK", "")
    backend = Backend(connect, registrations_per_minute=options.registrations_per_minute, token_mark=mark)
    try:
        Worker(options, backend, Payloads(connect)).run()
    except RefusedError as refused:
        print(json.dumps({"t": time.time(), "kind": "worker", "instance": options.instance_id, "event": "gave_up",
                          "error": str(refused)}), flush=True)  # fmt: skip
        raise SystemExit(1) from refused


if __name__ == "__main__":
    main()
