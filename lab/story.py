"""What happens in the demo and when: bursts of jobs, and scenes in which something befalls the platform."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from lab.backend import Backend
from lab.jobs import Arrival, Burst, JobSource, Journal
from lab.mariadb import Connection

VIDEO, SWAP = "image-to-video", "face-swap"
NOTICE_SECONDS = 12.0  # Spot gives 120 s
PATIENCE = 25.0
REGISTERED_WITHIN = 3.0

BUSY = """
SELECT d.worker_id FROM ai_job_dispatches d
JOIN workflows w ON w.id = d.workflow_id JOIN comfy_ui_workers c ON c.worker_id = d.worker_id
WHERE d.status = 'leased' AND w.slug = %s AND c.is_draining = 0 ORDER BY d.updated_at DESC, d.id DESC
"""
DEMAND = """
SELECT d.id FROM ai_job_dispatches d JOIN workflows w ON w.id = d.workflow_id
WHERE d.status IN ('queued', 'leased') AND w.slug = %s
"""
DRAINING = "SELECT worker_id FROM comfy_ui_workers WHERE is_draining = 1"
REGISTERED = """
SELECT c.id FROM comfy_ui_workers c
JOIN worker_workflows m ON m.worker_id = c.id JOIN workflows w ON w.id = m.workflow_id
WHERE c.is_draining = 0 AND w.slug = %s
"""


class Platform(Protocol):
    """What a scene may do to the world."""

    def interrupt(self, instance_id: str, notice_seconds: float, deliveries: int = 1) -> None: ...
    def kill(self, instance_id: str) -> None: ...
    def recommend(self, instance_ids: Iterable[str]) -> None: ...
    def zones(self, workflow: str) -> dict[str, str]: ...
    def reclaim_zone(self, zone: str, notice_seconds: float, deliveries: int = 1) -> list[str]: ...
    def reopen_zone(self, zone: str) -> None: ...
    def refuse_launches(self, workflow: str, code: str) -> None: ...
    def allow_launches(self, workflow: str) -> None: ...
    def ship_image(self, workflow: str, *, broken: bool) -> None: ...
    def backend_away(self, seconds: float) -> threading.Thread: ...
    def database_away(self, seconds: float) -> threading.Thread: ...
    def connect(self) -> Connection: ...
    def instances(self) -> dict[str, str]: ...


class SceneFailedError(RuntimeError):
    """A scene could not take place; the run proves nothing about it."""


@dataclass
class Stage:
    """What the scenes work with. `alarms` hears of every alarm transition: (name, new state)."""

    platform: Platform
    source: JobSource
    journal: Journal
    nudge: Callable[[str], None]
    stop: threading.Event
    alarms: list[Callable[[str, str], None]] = field(default_factory=list)
    backend: threading.Lock = field(default_factory=threading.Lock)
    """Held by the scene in which the backend is away, and by whoever needs it there."""
    _drained: list[str] = field(default_factory=list)

    def busy_worker(self, workflow: str) -> str:
        """An instance in service that has just begun a job; waits for one."""
        if found := self._until(lambda: self._busy(workflow), PATIENCE):
            return str(found[0])
        raise SceneFailedError(f"no worker of {workflow} was busy within {PATIENCE:.0f} s")

    def in_service(self, workflow: str) -> list[str]:
        return sorted(self.platform.zones(workflow))

    def kept(self, workflow: str) -> list[str]:
        """Instances in service that nobody takes out."""
        going = {row["worker_id"] for row in self._asked(DRAINING)}
        return [instance for instance in self.in_service(workflow) if instance not in going]

    def all_registered(self, workflow: str) -> None:
        """Wait until nobody of the fleet boots; on a machine with too much to do for so long, go on all the same."""
        self._until(lambda: self._registered(workflow) >= len(self.in_service(workflow)), REGISTERED_WITHIN)

    def someone_idle(self) -> None:
        """Wait until a fleet has more workers than jobs: silence of those who work proves nothing."""
        if not self._until(lambda: any(self._registered(slug) > self.demand(slug) for slug in (VIDEO, SWAP)), PATIENCE):
            raise SceneFailedError(f"every worker had a job for {PATIENCE:.0f} s")

    def _until(self, ask: Callable[[], Any], seconds: float) -> Any:
        """The first true answer; None when there is none in time, or the story is stopped."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.stop.wait(0.1):
            if answer := ask():
                return answer
        return None

    def demand(self, workflow: str) -> int:
        """Jobs that wait or are worked on."""
        return len(self._asked(DEMAND, workflow))

    def _registered(self, workflow: str) -> int:
        return len(self._asked(REGISTERED, workflow))

    def _busy(self, workflow: str) -> list[str]:
        in_service = {name for name, state in self.platform.instances().items() if state == "InService"}
        return [str(row["worker_id"]) for row in self._asked(BUSY, workflow) if row["worker_id"] in in_service]

    def _asked(self, question: str, *parameters: str) -> list[dict[str, Any]]:
        with self.platform.connect() as connection, connection.cursor() as cursor:
            cursor.execute(question, parameters)
            return list(cursor.fetchall())

    # -- scenes ----------------------------------------------------------------------------------------------------

    def interruption(self, workflow: str) -> None:
        self.platform.interrupt(self.busy_worker(workflow), NOTICE_SECONDS, deliveries=2)

    def sudden_death(self, workflow: str) -> None:
        self.platform.kill(self.busy_worker(workflow))

    def outage(self, seconds: float) -> None:
        """Nudged half way, so that the control plane surely looks while it is blind."""
        back = self.platform.database_away(seconds)
        self.stop.wait(seconds / 2)
        self.nudge(VIDEO)
        back.join()
        self.journal.write("database", state="back")

    def admin_drains(self, workflow: str) -> None:
        worker = self.busy_worker(workflow)
        self._by_hand(worker, draining=True)
        self._drained.append(worker)

    def admin_undrains(self) -> None:
        if not self._drained:
            raise SceneFailedError("nobody was drained by hand")
        self._by_hand(self._drained.pop(), draining=False)

    def _by_hand(self, worker: str, *, draining: bool) -> None:
        """Journals the newest audit row at that moment (`audit_id`), read while the worker's row is still locked:
        whoever drains or undrains this worker before has a row up to it, whoever comes after has a later one."""
        with self.platform.connect() as connection:
            backend = Backend(lambda: connection)
            connection.begin()
            backend.drain_by_hand(worker, draining=draining)
            with connection.cursor() as cursor:
                cursor.execute("SELECT COALESCE(MAX(id), 0) AS newest FROM worker_audit_logs")
                [row] = cursor.fetchall()
            connection.commit()
        action = "drain" if draining else "undrain"
        self.journal.write("admin", action=action, id=worker, audit_id=int(row["newest"]))

    def late_job(self, workflow: str) -> None:
        """Wait for the fleet's queue-empty alarm; commit a job before anybody can act on it."""
        rang, job = threading.Event(), Arrival(0.0, "late job", workflow, "acme", 4.0, nudged=False)

        def hear(name: str, state: str) -> None:
            if name.endswith(f"-{workflow}-queue-empty") and state == "ALARM":
                rang.set()

        self.alarms.append(hear)
        deadline = time.monotonic() + 2 * PATIENCE
        while not rang.wait(0.1):
            if self.stop.is_set() or time.monotonic() > deadline:
                raise SceneFailedError(f"the queue-empty alarm of {workflow} never rang")
        self.source.submit(job, self.stop)


@dataclass(frozen=True)
class Scene:
    """`shows` names what the run must have shown for the scene to have happened (lab/scenes.py)."""

    at: float
    title: str
    play: Callable[[Stage], None]
    shows: str | None = None


@dataclass(frozen=True)
class Story:
    """An act. `limit` is when every fleet must be back at zero; all in seconds from its beginning.

    `tags` are set on every group before it, as an operator tunes a live fleet; `most_launches` bounds the instances
    that one fleet launches in it.
    """

    bursts: tuple[Burst, ...]
    scenes: tuple[Scene, ...]
    limit: float
    name: str = "first act"
    tags: Mapping[str, str] = field(default_factory=dict)
    most_launches: int = 30


class Director:
    """Plays the scenes of a story, each in its own thread at its time; `failures` tells what did not take place."""

    def __init__(self, stage: Stage, story: Story) -> None:
        self._stage, self._story = stage, story
        self._threads = [threading.Thread(target=self._play, args=(scene,), daemon=True) for scene in story.scenes]
        self._start = 0.0
        self.failures: list[str] = []

    def start(self, start: float) -> None:
        """`start` on the monotonic clock."""
        self._start = start
        shows = [scene.shows for scene in self._story.scenes if scene.shows]
        self._stage.journal.write("story", limit=self._story.limit, shows=shows)
        for thread in self._threads:
            thread.start()

    @property
    def playing(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(5)

    def _play(self, scene: Scene) -> None:
        if self._stage.stop.wait(max(0.0, self._start + scene.at - time.monotonic())):
            return
        self._stage.journal.write("scene", title=scene.title)
        try:
            scene.play(self._stage)
        except Exception as error:  # noqa: BLE001 - whatever it was, the scene was not played and the run must say so
            self.failures.append(f"{scene.title}: {error}")
