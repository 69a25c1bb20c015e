"""A private MariaDB for the tests of the lab."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.mariadb import Connection, MariaDb, empty_tables, session_server


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    with session_server(Path(tmp_path_factory.mktemp("mariadb"))) as server:
        yield server


@pytest.fixture
def database(mariadb: MariaDb) -> Iterator[Connection]:
    connection = mariadb.connect()
    empty_tables(connection)
    yield connection
    connection.close()
