"""A deployed stage to send bad things to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.cloud.groups import Pace
from lab.world import Scale, World

from .places import Letters, Stage

PACE = Pace(settle=3600, look=3600)
"""Groups take orders and act on none: no launch of theirs wakes anybody while a test counts."""


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Lambda retries after 0.12 and 0.24 s. Time does not run: nothing happens but what a test does."""
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


@pytest.fixture
def undelivered(world: World) -> Iterator[Letters]:
    """The dead-letter queue of events that nobody took, empty before and after."""
    queue = Letters(world, "undelivered-events")
    queue.read()
    yield queue
    assert queue.read() == []
