"""Watches from outside while the story runs: queue and capacity by state, and how soon a lost job is leasable again."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from lab.mariadb import Connection
from lab.sessions import AwayError, Row, Session
from lab.tail import Tail

LOOK_SECONDS = 0.05
SAMPLE_SECONDS = 0.5
STATES = ("busy", "idle", "booting", "pending", "draining", "leaving")

QUEUE = """
SELECT w.slug, SUM(d.status = 'queued') AS queued, SUM(d.status = 'leased') AS leased
FROM ai_job_dispatches d JOIN workflows w ON w.id = d.workflow_id
WHERE d.status IN ('queued', 'leased') AND d.provider = 'self_hosted' GROUP BY w.slug
"""
WORKERS = """
SELECT c.worker_id, c.is_draining, EXISTS (
    SELECT 1 FROM ai_job_dispatches d WHERE d.worker_id = c.worker_id AND d.status = 'leased') AS busy
FROM comfy_ui_workers c
"""


class Sampler:
    """A thread that appends `sample` and `released` entries; reads the database, Auto Scaling and the journal."""

    def __init__(self, connect: Callable[[], Connection], autoscaling: Any, journal: Path, output: Path) -> None:
        self._db = Session(connect)
        self._autoscaling = autoscaling
        self._tail = Tail(journal)
        self._output = output
        self._stop = threading.Event()
        self._losses: dict[str, Row] = {}
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        self._db.close()

    def _run(self) -> None:
        due = 0.0
        with self._output.open("a", encoding="utf-8") as file:
            while not self._stop.wait(LOOK_SECONDS):
                self._look_for_losses(file)
                if time.monotonic() >= due:
                    due = time.monotonic() + SAMPLE_SECONDS
                    self._sample(file)

    def _sample(self, file: TextIO) -> None:
        groups = self._autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        try:
            with self._db.request():
                queue = {row["slug"]: row for row in self._db.rows(QUEUE)}
                workers = {row["worker_id"]: row for row in self._db.rows(WORKERS)}
        except AwayError:
            return  # a gap in the plot is the truth
        fleets = {group["AutoScalingGroupName"]: _fleet(group, queue, workers) for group in groups}
        _write(file, {"t": time.time(), "kind": "sample", "fleets": fleets})

    def _look_for_losses(self, file: TextIO) -> None:
        """Time from a warning, or a death without one, until its worker holds no lease any more."""
        for entry in self._tail.entries():
            cause = entry.get("state")
            if entry["kind"] == "instance" and cause in ("warned", "terminating"):
                self._losses.setdefault(entry["id"], {"t": entry["t"], "cause": cause, "held": False})
        for instance, loss in list(self._losses.items()):
            self._check(file, instance, loss)

    def _check(self, file: TextIO, instance: str, loss: Row) -> None:
        try:
            with self._db.request():
                held = self._db.rows(
                    "SELECT id FROM ai_job_dispatches WHERE worker_id = %s AND status = 'leased'", instance
                )
        except AwayError:
            return
        if held:
            loss["held"] = True
            return
        del self._losses[instance]
        seconds = round(time.time() - loss["t"], 3)
        _write(file, {"t": time.time(), "kind": "released", "instance": instance, "cause": loss["cause"],
                      "held": loss["held"], "seconds": seconds})  # fmt: skip


def _write(file: TextIO, entry: Row) -> None:
    file.write(json.dumps(entry) + "\n")
    file.flush()


def _fleet(group: Any, queue: dict[str, Row], workers: dict[str, Row]) -> Row:
    slug = next((tag["Value"] for tag in group["Tags"] if tag["Key"] == "WorkflowSlug"), "")
    states = dict.fromkeys(STATES, 0)
    for instance in group["Instances"]:
        states[state_of(instance["LifecycleState"], workers.get(instance["InstanceId"]))] += 1
    jobs = queue.get(slug, {"queued": 0, "leased": 0})
    return {
        "slug": slug,
        "queued": int(jobs["queued"]),
        "leased": int(jobs["leased"]),
        "desired": group["DesiredCapacity"],
        "max": group["MaxSize"],
        "states": states,
    }


def state_of(lifecycle: str, worker: Row | None) -> str:
    """What an onlooker calls an instance; a draining worker that still works is draining."""
    if lifecycle.startswith("Terminat"):
        return "leaving"
    if lifecycle.startswith("Pending"):
        return "pending"
    if worker is None:
        return "booting"
    if worker["is_draining"]:
        return "draining"
    return "busy" if worker["busy"] else "idle"
