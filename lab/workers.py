"""Starts and kills the worker processes of simulated instances; an instance's death is its worker's."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import processes
from lab.mariadb import MariaDb
from lab.secrecy import marked

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class WorkerPace:
    """Seconds; the defaults are the field's, a demo scales them."""

    boot: float = 60.0
    poll: float = 3.0
    heartbeat: float = 30.0
    registrations_per_minute: int = 10


class Workers:
    """Worker processes by instance id; their own words go to `<logs>/<instance>.jsonl`, tokens begin with a mark."""

    def __init__(self, database: MariaDb, logs: Path, pace: WorkerPace) -> None:
        self._database = database
        self._logs = logs
        self._pace = pace
        self._lock = threading.Lock()
        self._closed = False
        self.token_mark = marked()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, instance: str, slugs: Sequence[str], *, silent: bool = False) -> None:
        log = self._logs / f"{instance}.jsonl"
        with self._lock:
            if instance not in self._processes and not self._closed:  # one that boots while the world ends stays off
                command = self._command(instance, slugs, silent=silent)
                self._processes[instance] = processes.spawn(command, env=self._environment(), cwd=ROOT, log=log)

    def kill(self, instance: str) -> None:
        """At once and without warning, as a terminated instance's; unknown instances are ignored."""
        with self._lock:
            process = self._processes.pop(instance, None)
        if process is not None:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Kill all; whoever is started from now on is not."""
        with self._lock:
            self._closed = True
            instances = list(self._processes)
        for instance in instances:
            self.kill(instance)

    def alive(self) -> list[str]:
        with self._lock:
            return sorted(name for name, process in self._processes.items() if process.poll() is None)

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LAB_DB_PASSWORD": self._database.backend.password,
            "LAB_TOKEN_MARK": self.token_mark,
        }

    def _command(self, instance: str, slugs: Sequence[str], *, silent: bool) -> list[str]:
        pace, database = self._pace, self._database
        return [
            *(sys.executable, "-m", "lab.worker", "--instance-id", instance, "--slugs", *slugs),
            *("--host", database.host, "--port", str(database.port), "--user", database.backend.username),
            *("--ca-file", str(database.ca_file), "--boot-seconds", str(pace.boot), "--poll-seconds", str(pace.poll)),
            *("--heartbeat-seconds", str(pace.heartbeat)),
            *("--registrations-per-minute", str(pace.registrations_per_minute)),
            *(["--silent"] if silent else []),
        ]
