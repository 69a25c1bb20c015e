"""A deployed stage to send bad things to, and fuzzing that gives the same verdict everywhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from lab.cloud.groups import Pace
from lab.world import Scale, World

from .places import Letters, Stage

settings.register_profile("steady", derandomize=True, max_examples=200, deadline=None, database=None)
settings.load_profile("steady")

PACE = Pace(settle=0.05, launch=0.2, terminate=0.1, notice_death=0.1)


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Lambda's retries after 0.12 and 0.24 s; time does not run: nothing happens but what a test does."""
    scale = Scale(minute=5, retries=0.002, pace=PACE)
    with World(tmp_path_factory.mktemp("world"), scale=scale) as world:
        with world.connect() as session, session.cursor() as cursor:
            for slug in ("image-to-video", "face-swap"):
                cursor.execute("INSERT INTO workflows (name, slug) VALUES (%s, %s)", (slug, slug))
        world.invoke("reconcile", {"step": "tick"})  # its first look suspends AZRebalance
        yield world


@pytest.fixture
def stage(world: World) -> Stage:
    return Stage(world)


@pytest.fixture
def letters(world: World) -> Iterator[Letters]:
    """The dead-letter queue of failed invocations, empty before and after."""
    queue = Letters(world)
    queue.read()
    yield queue
    assert queue.read() == []
