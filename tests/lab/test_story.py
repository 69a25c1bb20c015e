"""The scenes do to the platform what they say, and a scene that could not be played is told."""

import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import tail
from lab.backend import Backend
from lab.cloud.journal import Journal
from lab.first_act import FULL, SHORT
from lab.jobs import Arrival, Burst, JobSource, arrivals
from lab.mariadb import Connection, MariaDb
from lab.payloads import Payloads
from lab.sampler import Sampler
from lab.scenes import SCENES
from lab.story import SWAP, VIDEO, Director, Scene, Stage, Story


class FakePlatform:
    def __init__(self, mariadb: MariaDb) -> None:
        self._mariadb = mariadb
        self.states: dict[str, str] = {}
        self.done: list[tuple[Any, ...]] = []

    def interrupt(self, instance_id: str, notice_seconds: float, deliveries: int = 1) -> None:
        self.done.append(("interrupt", instance_id, deliveries))

    def kill(self, instance_id: str) -> None:
        self.done.append(("kill", instance_id))

    def recommend(self, instance_ids: Iterable[str]) -> None:
        self.done.append(("recommend", tuple(instance_ids)))

    def zones(self, workflow: str) -> dict[str, str]:
        return {name: "us-east-1a" for name, state in self.states.items() if state == "InService"}

    def reclaim_zone(self, zone: str, notice_seconds: float, deliveries: int = 1) -> list[str]:
        self.done.append(("reclaim", zone, deliveries))
        return sorted(self.zones(""))

    def reopen_zone(self, zone: str) -> None:
        self.done.append(("reopen", zone))

    def refuse_launches(self, workflow: str, code: str) -> None:
        self.done.append(("refuse", workflow, code))

    def allow_launches(self, workflow: str) -> None:
        self.done.append(("allow", workflow))

    def ship_image(self, workflow: str, *, broken: bool) -> None:
        self.done.append(("image", workflow, broken))

    def backend_away(self, seconds: float) -> threading.Thread:
        raise NotImplementedError

    def database_away(self, seconds: float) -> threading.Thread:
        thread = threading.Thread(target=self._mariadb.stop_for, args=(seconds,))
        thread.start()
        return thread

    def connect(self) -> Connection:
        return self._mariadb.connect()

    def instances(self) -> dict[str, str]:
        return self.states


@pytest.fixture
def platform(mariadb: MariaDb, database: Connection) -> FakePlatform:
    with database.cursor() as cursor:
        cursor.execute("INSERT INTO workflows (name, slug) VALUES (%s, %s), (%s, %s)", (VIDEO, VIDEO, SWAP, SWAP))
        cursor.execute("DROP TABLE IF EXISTS lab.jobs")
    payloads = Payloads(mariadb.connect)
    payloads.create()
    payloads.close()
    return FakePlatform(mariadb)


@pytest.fixture
def stage(platform: FakePlatform, journal: Journal) -> Iterator[Stage]:
    nudged: list[str] = []
    source = JobSource(platform.connect, journal, nudged.append)
    yield Stage(platform, source, journal, nudged.append, threading.Event())
    source.close()


def busy(platform: FakePlatform, *workers: str) -> None:
    backend = Backend(platform.connect, registrations_per_minute=None)
    for number, worker in enumerate(workers):
        platform.states[worker] = "InService"
        backend.submit(SWAP, tenant="acme", tenant_job_id=9000 + number)
        assert backend.poll(backend.register(worker, [SWAP])) is not None
    backend.close()


def journaled(tmp_path: Path, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in tail.read(tmp_path / "journal.jsonl") if entry["kind"] == kind]


@pytest.mark.parametrize(("story", "jobs"), [(FULL, 60), (SHORT, 10)], ids=["full", "short"])
def test_a_story_has_jobs_of_both_kinds_for_both_workflows_and_room_to_end(story: Story, jobs: int) -> None:
    plan = arrivals(story.bursts, seed=7)
    assert len(plan) >= jobs
    assert {(arrival.workflow, arrival.nudged) for arrival in plan} >= {(VIDEO, False), (SWAP, True)}
    assert max(arrival.at for arrival in plan) < story.limit - 40
    assert max(scene.at for scene in story.scenes) < story.limit - 40
    assert story.limit <= 150


def test_the_full_story_promises_every_scene_that_can_be_judged_and_the_short_one_some() -> None:
    assert {scene.shows for scene in FULL.scenes if scene.shows} == set(SCENES)
    assert {scene.shows for scene in SHORT.scenes if scene.shows} < set(SCENES)


def test_what_a_story_promises_is_journaled_when_it_begins(stage: Stage, tmp_path: Path) -> None:
    scenes = (Scene(0.0, "a", lambda _: None, shows="hold"), Scene(0.0, "b", lambda _: None))
    director = Director(stage, Story((), scenes, limit=7.0))
    director.start(time.monotonic())
    director.join()
    assert [(story["limit"], story["shows"]) for story in journaled(tmp_path, "story")] == [(7.0, ["hold"])]


def test_spot_takes_a_busy_instance_in_service_and_warns_twice(stage: Stage, platform: FakePlatform) -> None:
    busy(platform, "i-1", "i-2")
    platform.states["i-2"] = "Terminating"
    stage.interruption(SWAP)
    stage.sudden_death(SWAP)
    assert platform.done == [("interrupt", "i-1", 2), ("kill", "i-1")]


def test_who_is_taken_out_is_not_kept_and_who_still_boots_is(stage: Stage, platform: FakePlatform) -> None:
    backend = Backend(platform.connect)
    for instance in ("i-1", "i-2"):
        backend.register(instance, [VIDEO])
    backend.drain_by_hand("i-2", draining=True)
    backend.close()
    platform.states = {"i-1": "InService", "i-2": "InService", "i-3": "InService", "i-4": "Pending"}
    assert stage.kept(VIDEO) == ["i-1", "i-3"]


def test_an_admin_drains_by_hand_and_gives_the_same_worker_back(
    stage: Stage, platform: FakePlatform, database: Connection, tmp_path: Path
) -> None:
    busy(platform, "i-1")
    stage.admin_drains(SWAP)
    with database.cursor() as cursor:
        cursor.execute("SELECT is_draining FROM comfy_ui_workers")
        assert cursor.fetchone() == {"is_draining": 1}
        stage.admin_undrains()
        cursor.execute("SELECT is_draining FROM comfy_ui_workers")
        assert cursor.fetchone() == {"is_draining": 0}
    assert [(e["action"], e["id"]) for e in journaled(tmp_path, "admin")] == [("drain", "i-1"), ("undrain", "i-1")]


def test_an_admins_action_is_journaled_with_the_newest_audit_row_there_was(
    stage: Stage, platform: FakePlatform, database: Connection, tmp_path: Path
) -> None:
    busy(platform, "i-1")
    stage.admin_drains(SWAP)
    with database.cursor() as cursor:
        cursor.execute("INSERT INTO worker_audit_logs (worker_identifier, event) VALUES ('i-1', 'fleet_undrained')")
        between = cursor.lastrowid
        stage.admin_undrains()
        cursor.execute("INSERT INTO worker_audit_logs (worker_identifier, event) VALUES ('i-1', 'fleet_drained')")
        after = cursor.lastrowid
    drained, given_back = (entry["audit_id"] for entry in journaled(tmp_path, "admin"))
    assert drained < between <= given_back < after


def test_the_late_job_comes_with_the_alarm_of_its_own_fleet_and_not_before(stage: Stage, tmp_path: Path) -> None:
    scene = threading.Thread(target=stage.late_job, args=(SWAP,))
    scene.start()
    while not stage.alarms:
        time.sleep(0.01)
    stage.alarms[0](f"bp-staging-{VIDEO}-queue-empty", "ALARM")
    stage.alarms[0](f"bp-staging-{SWAP}-queue-empty", "OK")
    scene.join(0.3)
    assert journaled(tmp_path, "job") == []
    stage.alarms[0](f"bp-staging-{SWAP}-queue-empty", "ALARM")
    scene.join(3)
    assert [(job["workflow"], job["burst"]) for job in journaled(tmp_path, "job")] == [(SWAP, "late job")]


def test_a_scene_that_cannot_be_played_is_told(stage: Stage) -> None:
    director = Director(stage, Story((), (Scene(0.0, "nobody there", lambda s: s.admin_undrains()),), limit=1.0))
    director.start(time.monotonic())
    director.join()
    assert director.failures == ["nobody there: nobody was drained by hand"]


def test_jobs_arrive_by_the_plan_in_bursts_nudged_once(stage: Stage, tmp_path: Path) -> None:
    plan = arrivals([Burst("a", 0.0, VIDEO, 3), Burst("b", 0.1, SWAP, 2, nudged=True)], seed=7)
    nudges: list[str] = []
    source = JobSource(stage.platform.connect, stage.journal, nudges.append, sources=1)
    source.run(plan, time.monotonic(), threading.Event())
    source.close()
    assert nudges == [SWAP]
    assert [(burst["name"], burst["jobs"]) for burst in journaled(tmp_path, "burst")] == [("a", 3), ("b", 2)]
    assert len({job["dispatch_id"] for job in journaled(tmp_path, "job")}) == 5


def test_a_job_that_meets_an_outage_is_committed_once_after_it(
    stage: Stage, platform: FakePlatform, mariadb: MariaDb
) -> None:
    stage.source.submit(Arrival(0, "before", VIDEO, "acme", 1.0, nudged=False))
    outage = platform.database_away(0.8)
    time.sleep(0.2)
    during = stage.source.submit(Arrival(0, "during", VIDEO, "acme", 1.0, nudged=False))
    outage.join()
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) AS jobs, MAX(id) AS last FROM ai_job_dispatches")
        assert cursor.fetchone() == {"jobs": 2, "last": during}


class FakeAutoScaling:
    def describe_auto_scaling_groups(self) -> dict[str, Any]:
        group = {"AutoScalingGroupName": "asg-staging-face-swap", "DesiredCapacity": 2, "MaxSize": 10}
        group["Instances"] = [
            {"InstanceId": "i-1", "LifecycleState": "InService"},
            {"InstanceId": "i-9", "LifecycleState": "InService"},
        ]
        group["Tags"] = [{"Key": "WorkflowSlug", "Value": SWAP}]
        return {"AutoScalingGroups": [group]}


def test_the_sampler_sees_states_and_times_the_release_of_a_warned_workers_job(
    stage: Stage, platform: FakePlatform, database: Connection, tmp_path: Path
) -> None:
    busy(platform, "i-1")
    output = tmp_path / "samples.jsonl"
    sampler = Sampler(platform.connect, FakeAutoScaling(), tmp_path / "journal.jsonl", output)
    sampler.start()
    stage.journal.write("instance", id="i-1", group="asg-staging-face-swap", state="warned", cause="")
    time.sleep(0.6)
    with database.cursor() as cursor:
        cursor.execute("UPDATE ai_job_dispatches SET status = 'queued', worker_id = NULL, lease_token = NULL")
    time.sleep(0.6)
    sampler.close()
    seen = tail.read(output)
    first = next(entry for entry in seen if entry["kind"] == "sample")["fleets"]["asg-staging-face-swap"]
    released = [entry for entry in seen if entry["kind"] == "released"]
    assert (first["leased"], first["desired"]) == (1, 2)
    assert (first["states"]["busy"], first["states"]["booting"]) == (1, 1)
    assert [(r["instance"], r["held"]) for r in released] == [("i-1", True)]
    assert 0.5 < released[0]["seconds"] < 1.1
