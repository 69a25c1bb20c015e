from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.mariadb import Connection, MariaDb
from tests.lab.database import database, mariadb  # noqa: F401 - fixtures

from .stand import SLUG, Stand

LEASE_SECONDS = 3.0


@pytest.fixture
def make_stand(mariadb: MariaDb, database: Connection, tmp_path: Path) -> Iterator[Callable[..., Stand]]:  # noqa: F811
    """An empty queue with one workflow; every stand is closed at the end, with its processes."""
    with database.cursor() as cursor:
        cursor.execute("INSERT INTO workflows (name, slug) VALUES ('Video', %s)", (SLUG,))
        cursor.execute("DROP TABLE IF EXISTS lab.jobs")
    made: list[Stand] = []

    def make(**options: float) -> Stand:
        made.append(Stand(mariadb.connect, tmp_path, **{"lease": LEASE_SECONDS, **options}))  # type: ignore[arg-type]
        made[-1].payloads.create()
        return made[-1]

    yield make
    for stand in made:
        stand.close()


@pytest.fixture
def stand(make_stand: Callable[..., Stand]) -> Stand:
    return make_stand()
