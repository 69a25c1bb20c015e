"""The second act is the seed's: what happens, to whom and when; and each scene does what its title says."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import tail
from lab.backend import Backend
from lab.cloud.journal import Journal
from lab.jobs import JobSource, arrivals
from lab.mariadb import Connection, MariaDb
from lab.payloads import Payloads
from lab.second_act import AWAY_SECONDS, TAGS, Plot, second_act
from lab.story import SWAP, VIDEO, SceneFailedError, Stage

from .test_story import FakePlatform
from .waiting import until

SEEDS = range(40)


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
    source = JobSource(platform.connect, journal, lambda _: None)
    yield Stage(platform, source, journal, lambda _: None, threading.Event())
    source.close()


def told(seed: int) -> tuple[Any, ...]:
    story = second_act(seed)
    return tuple((scene.at, scene.title) for scene in story.scenes), tuple(arrivals(story.bursts, seed))


def test_a_seed_tells_the_same_story_again_and_another_seed_another() -> None:
    assert [told(seed) for seed in SEEDS] == [told(seed) for seed in SEEDS]
    assert len({told(seed) for seed in SEEDS}) == len(SEEDS)
    plots = [Plot.of(seed) for seed in SEEDS]
    assert {plot.calm for plot in plots} == {VIDEO, SWAP}
    assert len({plot.code for plot in plots}) == 3
    assert {plot.rebalance_twice for plot in plots} == {True, False}


@pytest.mark.parametrize("seed", SEEDS)
def test_every_seed_leaves_room_for_its_scenes(seed: int) -> None:
    plot = Plot.of(seed)
    deadline = float(TAGS["fleet:warmup-seconds"]) + float(TAGS["fleet:launch-grace-seconds"])
    assert plot.calm != plot.troubled
    assert plot.drought < plot.image_at - 10, "the fleet has recovered before the next blow"
    assert plot.zone_at < plot.away_at - 5
    assert plot.fixed_at > plot.image_at + deadline, "instances of the broken image have the time to be found overdue"
    assert plot.fixed_at > plot.away_at + AWAY_SECONDS
    assert plot.unlucky <= 4
    assert float(TAGS["fleet:silent-seconds"]) + 3 < AWAY_SECONDS, "long enough to be seen"
    assert second_act(seed).limit <= 115


def test_the_whole_pool_is_recommended_at_once(stage: Stage, platform: FakePlatform) -> None:
    plot = Plot.of(1)
    scenes = {scene.at: scene.play for scene in second_act(1).scenes}
    with pytest.raises(SceneFailedError):
        scenes[plot.rebalance_at](stage)
    platform.states = {"i-1": "InService", "i-2": "InService", "i-3": "Pending"}
    scenes[plot.rebalance_at](stage)
    [(_, pool)] = [done for done in platform.done if done[0] == "recommend"]
    assert set(pool) == {"i-1", "i-2"}
    assert len(pool) == (4 if plot.rebalance_twice else 2)


def test_the_market_dries_up_and_opens_again(stage: Stage, platform: FakePlatform) -> None:
    plot = Plot.of(3)
    scenes = {scene.at: scene.play for scene in second_act(3).scenes}
    scenes[0.0](stage)
    scenes[plot.drought](stage)
    assert platform.done == [("refuse", plot.troubled, plot.code), ("allow", plot.troubled)]


def test_the_broken_image_meets_as_many_jobs_as_launch_a_few_instances(
    stage: Stage, platform: FakePlatform, tmp_path: Path
) -> None:
    plot = Plot.of(5)
    platform.states = {"i-1": "InService"}
    backend = Backend(platform.connect)
    backend.submit(plot.troubled, tenant="acme", tenant_job_id=9000)
    backend.close()
    play = threading.Thread(
        target={scene.at: scene.play for scene in second_act(5).scenes}[plot.image_at], args=[stage]
    )
    play.start()
    wanted = 2 * (1 + plot.unlucky)
    until(lambda: stage.demand(plot.troubled) == wanted)
    with platform.connect() as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE ai_job_dispatches SET status = 'completed' ORDER BY id LIMIT 2")
    until(lambda: stage.demand(plot.troubled) == wanted, seconds=3)
    platform.states |= {f"i-broken-{number}": "InService" for number in range(plot.unlucky)}
    play.join(3)
    assert not play.is_alive()
    assert platform.done == [("image", plot.troubled, True)]
    entries = tail.read(tmp_path / "journal.jsonl")
    jobs = [entry for entry in entries if entry["kind"] == "job"]
    assert len(jobs) + 1 == wanted + 2, "two jobs an instance: one serves, the unlucky ones are launched; two were done"


def test_a_zone_goes_with_all_that_is_in_it_and_opens_after_the_notice(
    stage: Stage, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    plot = Plot.of(2)
    monkeypatch.setattr("lab.second_act.NOTICE_SECONDS", 0.1)
    platform.states = {"i-1": "InService", "i-2": "InService"}
    backend = Backend(platform.connect, registrations_per_minute=None)
    backend.submit(plot.calm, tenant="acme", tenant_job_id=9000)
    assert backend.poll(backend.register("i-1", [plot.calm])) is not None
    backend.close()
    {scene.at: scene.play for scene in second_act(2).scenes}[plot.zone_at](stage)
    assert platform.done == [("reclaim", "us-east-1a", plot.warnings), ("reopen", "us-east-1a")]


def test_the_backend_goes_away_once_a_worker_has_nothing_to_do(stage: Stage, platform: FakePlatform) -> None:
    backend = Backend(platform.connect, registrations_per_minute=None)
    token = backend.register("i-1", [VIDEO])
    backend.submit(VIDEO, tenant="acme", tenant_job_id=9000)
    job = backend.poll(token)
    assert job is not None
    waiting = threading.Thread(target=stage.someone_idle)
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive(), "silent workers may be at work: that proves nothing"
    backend.complete(token, job.dispatch_id, job.lease_token)
    backend.close()
    waiting.join(5)
    assert not waiting.is_alive()


def test_the_image_is_mended_when_the_backend_is_there(stage: Stage, platform: FakePlatform) -> None:
    plot = Plot.of(1)
    mend = threading.Thread(
        target={scene.at: scene.play for scene in second_act(1).scenes}[plot.fixed_at], args=[stage]
    )
    with stage.backend:
        mend.start()
        mend.join(0.2)
        assert platform.done == []
    mend.join(5)
    assert platform.done == [("image", plot.troubled, False)]


def test_an_outage_of_the_backend_spares_the_database_and_ends(mariadb: MariaDb) -> None:
    backend = mariadb.backend
    before = mariadb.connect(user=backend.username, password=backend.password)
    with mariadb.locked_out(backend):
        with pytest.raises(Exception, match="locked"):
            mariadb.connect(user=backend.username, password=backend.password)
        with pytest.raises(Exception, match=r"gone away|Lost connection|killed"), before.cursor() as cursor:
            cursor.execute("SELECT 1")
        mariadb.connect().close()
        time.sleep(0.05)
    mariadb.connect(user=backend.username, password=backend.password).close()
