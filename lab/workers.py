"""The product's worker, a process for each instance, and the site around them; an instance's death is its worker's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lab import processes
from lab.mariadb import MariaDb
from lab.secrecy import marked

ROOT = Path(__file__).parents[1]
SITE_DEADLINE = 20.0


@dataclass(frozen=True)
class WorkerPace:
    """Seconds; the defaults are the field's, a demo scales them. `boot` is what ComfyUI takes to be up.

    `notice` is between two looks for a Spot notice, `margin` how long before the end a worker gives its job back.
    """

    boot: float = 60.0
    poll: float = 3.0
    heartbeat: float = 30.0
    registrations_per_minute: int = 10
    notice: float = 5.0
    margin: float = 10.0


class Workers:
    """Worker processes by instance id; their own words go to `<logs>/<instance>.jsonl`, their tokens begin with a mark.

    A disk is deleted with its instance, and with it the token on it.
    """

    def __init__(self, database: MariaDb, logs: Path, pace: WorkerPace) -> None:
        self._database = database
        self._logs = logs.resolve()
        self._disks = self._logs / "disks"
        self._pace = pace
        self._lock = threading.Lock()
        self._closed = False
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.fleet_secret, self.token_mark = marked(), marked()
        self._disks.mkdir(parents=True, exist_ok=True)
        self._url_file = self._logs / "site.url"
        self._url_file.unlink(missing_ok=True)
        self._site = processes.spawn(
            self._site_command(), env=self._site_environment(), cwd=ROOT, log=self._logs / "site.log"
        )

    def start(self, instance: str, slugs: Sequence[str]) -> None:
        """The machine runs: its worker starts, and waits for its ComfyUI."""
        with self._lock:
            if instance not in self._processes and not self._closed:  # one that boots while the world ends stays off
                self._control("boot", instance, self._pace.boot)
                self._processes[instance] = processes.spawn(
                    [sys.executable, "-m", "comfyui_worker"],
                    env=self._environment(instance, slugs),
                    cwd=self._disks,
                    log=self._logs / f"{instance}.jsonl",
                )

    def warn(self, instance: str, seconds: float) -> None:
        """The instance's own metadata service says what EventBridge says to everybody else."""
        self._control("warn", instance, seconds)

    def kill(self, instance: str) -> None:
        """At once and without warning, as a terminated instance's; unknown instances are ignored."""
        with self._lock:
            process = self._processes.pop(instance, None)
        if process is not None:
            process.kill()
            process.wait()
            shutil.rmtree(self._disks / instance, ignore_errors=True)

    def close(self) -> None:
        """Kill all; whoever is started from now on is not."""
        with self._lock:
            self._closed = True
            instances = list(self._processes)
        for instance in instances:
            self.kill(instance)
        self._site.kill()
        self._site.wait()

    def alive(self) -> list[str]:
        with self._lock:
            return sorted(name for name, process in self._processes.items() if process.poll() is None)

    # -- the site ----------------------------------------------------------------------------------------------------

    def _url(self) -> str:
        """Waits for the site to be there; it is started before anybody needs it."""
        deadline = time.monotonic() + SITE_DEADLINE
        while not self._url_file.exists():
            if self._site.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the workers' surroundings did not start: {self._logs / 'site.log'}")
            time.sleep(0.02)
        return self._url_file.read_text(encoding="utf-8")

    def _control(self, what: str, instance: str, seconds: float) -> None:
        connection = HTTPConnection(urlsplit(self._url()).netloc, timeout=10)
        try:
            asked: dict[str, Any] = {"instance": instance, "seconds": seconds}
            connection.request("POST", f"/control/{what}", json.dumps(asked).encode())
            if connection.getresponse().status != 200:
                raise RuntimeError(f"the site refuses to {what} {instance}")
        finally:
            connection.close()

    def _site_command(self) -> list[str]:
        database = self._database
        return [
            *(sys.executable, "-m", "lab.site", "--port-file", str(self._url_file)),
            *("--host", database.host, "--port", str(database.port), "--user", database.backend.username),
            *("--ca-file", str(database.ca_file)),
            *("--registrations-per-minute", str(self._pace.registrations_per_minute)),
        ]

    def _site_environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LAB_DB_PASSWORD": self._database.backend.password,
            "LAB_FLEET_SECRET": self.fleet_secret,
            "LAB_TOKEN_MARK": self.token_mark,
        }

    # -- a worker ----------------------------------------------------------------------------------------------------

    def _environment(self, instance: str, slugs: Sequence[str]) -> dict[str, str]:
        """What the launch template's user data writes, with this world's addresses and times."""
        base, disk, pace = f"{self._url()}/i/{instance}", self._disks / instance, self._pace
        return {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": str(ROOT / "packer" / "worker"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "API_BASE_URL": base,
            "WORKER_ID": instance,
            "FLEET_SECRET": self.fleet_secret,
            "WORKFLOW_SLUGS": ",".join(slugs),
            "ASG_NAME": f"asg-lab-{slugs[0]}",
            "COMFYUI_BASE_URL": f"{base}/comfyui",
            "POLL_INTERVAL_SECONDS": str(pace.poll),
            "HEARTBEAT_INTERVAL_SECONDS": str(pace.heartbeat),
            "MAX_CONCURRENCY": "1",
            "METADATA_BASE_URL": base,
            "STORAGE_PREFIX": f"{base}/storage/",
            "NOTICE_INTERVAL_SECONDS": str(pace.notice),
            "REQUEUE_MARGIN_SECONDS": str(pace.margin),
            "PROGRESS_INTERVAL_SECONDS": "0.5",
            "STATE_DIRECTORY": str(disk / "state"),
            "CACHE_DIRECTORY": str(disk / "cache"),
        }
