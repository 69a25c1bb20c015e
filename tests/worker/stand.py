"""Real worker processes against the lab's site over its MariaDB, with times scaled by their own settings."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lab import processes
from lab.backend import Backend
from lab.backend_http import BackendApi
from lab.mariadb import Connection
from lab.payloads import Payloads
from lab.site.server import Instance, Site
from lab.site.storage import Storage

ROOT = Path(__file__).parents[2]
SECRET = 'fleet "secret" of the tests'
SLUG = "image-to-video"
PACE = {
    "POLL_INTERVAL_SECONDS": "0.1",
    "HEARTBEAT_INTERVAL_SECONDS": "0.3",
    "NOTICE_INTERVAL_SECONDS": "0.2",
    "REQUEUE_MARGIN_SECONDS": "1",
    "PROGRESS_INTERVAL_SECONDS": "0.1",
    "COMFYUI_PATIENCE_SECONDS": "1.5",
    "STOP_GRACE_SECONDS": "3",
}


class Stand:
    """`lease` is the backend's 900 s, scaled; whole seconds, as the database stores times."""

    def __init__(self, connect: Callable[[], Connection], folder: Path, lease: float, registrations: int = 100) -> None:
        self.folder, self.storage = folder, Storage()
        self._connect = connect
        span = dt.timedelta(seconds=lease)
        self.api = BackendApi(connect, self.storage, SECRET, registrations_per_minute=registrations, lease=span)
        self.site = Site(self.api, self.storage)
        self.backend, self.payloads = Backend(connect, lease=span), Payloads(connect)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.site.start()

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        self.site.close()
        self.api.close()
        self.backend.close()
        self.payloads.close()

    # -- what happens ----------------------------------------------------------------------------------------------

    def submit(self, number: int, seconds: float, **payload: Any) -> int:
        """Queue job `number` with so much work and these additions to its payload; its dispatch id."""
        self.payloads.put("acme", number, seconds)
        if payload:
            self.storage.payloads[number] = payload
        return self.backend.submit(SLUG, tenant="acme", tenant_job_id=number)

    def start(self, name: str = "i-1", largest_file: int = 0, **settings: str) -> subprocess.Popen[bytes]:
        """A worker process, or the next one on the same disk; no file may grow beyond so many bytes, if any."""
        environment = self.environment(name) | settings
        command = [sys.executable, "-m", "comfyui_worker"]
        if largest_file:
            command = ["/bin/sh", "-c", f'ulimit -f {largest_file // 512}; exec "$@"', "sh", *command]
        self.processes[name] = processes.spawn(command, env=environment, cwd=ROOT, log=self.log(name))
        return self.processes[name]

    def environment(self, name: str) -> dict[str, str]:
        base = self.site.base(name)
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "packer" / "worker"),
            "API_BASE_URL": base,
            "WORKER_ID": name,
            "FLEET_SECRET": SECRET,
            "WORKFLOW_SLUGS": SLUG,
            "ASG_NAME": f"asg-staging-{SLUG}",
            "COMFYUI_BASE_URL": f"{base}/comfyui",
            "METADATA_BASE_URL": base,
            "STORAGE_PREFIX": f"{base}/storage/",
            "MAX_CONCURRENCY": "1",
            "STATE_DIRECTORY": str(self.folder / name / "state"),
            "CACHE_DIRECTORY": str(self.folder / name / "cache"),
            **PACE,
        }

    def end(self, name: str = "i-1", number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and wait; the exit code, negative for a signal's."""
        process = self.processes[name]
        process.send_signal(number)
        return process.wait(10)

    def exit_code(self, name: str = "i-1") -> int:
        """Of a process that ends by itself."""
        return self.processes[name].wait(15)

    def instance(self, name: str = "i-1") -> Instance:
        return self.site.instance(name)

    # -- what can be seen ------------------------------------------------------------------------------------------

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    def said(self, name: str = "i-1") -> list[dict[str, Any]]:
        path = self.log(name)
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{")]

    def events(self, name: str = "i-1") -> list[str]:
        return [entry["event"] for entry in self.said(name)]

    def job(self, dispatch: int) -> dict[str, Any]:
        [row] = self.rows("SELECT * FROM ai_job_dispatches WHERE id = %s", dispatch)
        return row

    def status(self, dispatch: int) -> str:
        return str(self.job(dispatch)["status"])

    def audits(self, dispatch: int) -> list[str]:
        found = self.rows("SELECT event FROM worker_audit_logs WHERE dispatch_id = %s ORDER BY id", dispatch)
        return [row["event"] for row in found]

    def workers(self) -> list[str]:
        return [row["worker_id"] for row in self.rows("SELECT worker_id FROM comfy_ui_workers ORDER BY id")]

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        connection = self._connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, values)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def write(self, sql: str, *values: Any) -> None:
        self.rows(sql, *values)

    def until(self, condition: Callable[[], Any], seconds: float = 10.0) -> Any:
        """The condition's first true value; fails with the workers' words when it has none in time."""
        end = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < end, self.words()
            time.sleep(0.02)
        return value

    def words(self) -> str:
        return "\n".join(f"{path.name}: {path.read_text()}" for path in sorted(self.folder.glob("*.jsonl")))


def without(environment: Mapping[str, str], *names: str) -> dict[str, str]:
    return {key: value for key, value in environment.items() if key not in names}
