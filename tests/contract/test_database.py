"""The database session keeps its promises against a real server, TLS and all."""

import time
from collections.abc import Iterator
from contextlib import closing

import pymysql
import pytest
from fleet_control.act import database as module
from fleet_control.act.database import Database
from fleet_control.act.tenants import USER
from fleet_control.errors import DatabaseBusy, DatabaseUnavailable, SchemaNotMigrated

from lab.mariadb import CENTRAL, Connection, MariaDb

from .conftest import PASSWORD, Insert, open_as
from .logins import session


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every use of the connection is checked first, as after a freeze."""
    monkeypatch.setattr(module, "UNCHECKED_SECONDS", 0)


@pytest.fixture
def other(mariadb: MariaDb) -> Iterator[Database]:
    with closing(open_as(mariadb, USER, PASSWORD)) as second:
        yield second


def session_id(database: Database) -> int:
    return int(database.query("SELECT CONNECTION_ID() AS id")[0]["id"])


def kill(root: Connection, database: Database) -> None:
    victim = session_id(database)
    root.query(f"KILL {victim}")
    time.sleep(0.05)  # the server closes the socket a moment after it answered


def test_a_session_is_set_up_as_the_design_says(database: Database) -> None:
    sql = (
        "SELECT @@autocommit AS autocommit, @@tx_isolation AS isolation, @@time_zone AS zone,"
        " @@wait_timeout AS idle, @@max_statement_time AS statement, @@innodb_lock_wait_timeout AS row_lock"
    )
    assert database.query(sql) == [
        {
            "autocommit": 1,
            "isolation": "READ-COMMITTED",
            "zone": "+00:00",
            "idle": 60,
            "statement": 5.0,
            "row_lock": 3,
        }
    ]


@pytest.mark.parametrize("of_the_server", ["", "ORACLE", "ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES"])
def test_a_session_has_its_own_sql_mode_whatever_the_servers_is(
    mariadb: MariaDb, root: Connection, of_the_server: str
) -> None:
    """All of these tests run under it: under ONLY_FULL_GROUP_BY, too."""
    with root.cursor() as cursor:
        cursor.execute("SELECT @@GLOBAL.sql_mode AS mode")
        before = cursor.fetchone()
        assert before is not None
        try:
            cursor.execute("SET GLOBAL sql_mode = %s", (of_the_server,))
            with closing(session(mariadb)) as found:
                mode = found.query("SELECT @@sql_mode AS mode")[0]["mode"]
        finally:
            cursor.execute("SET GLOBAL sql_mode = %s", (before["mode"],))
    assert set(mode.split(",")) == {
        "STRICT_ALL_TABLES",
        "ONLY_FULL_GROUP_BY",
        "ERROR_FOR_DIVISION_BY_ZERO",
        "NO_AUTO_CREATE_USER",
        "NO_ENGINE_SUBSTITUTION",
    }


def test_the_session_is_encrypted(database: Database) -> None:
    assert database.query("SHOW STATUS LIKE 'Ssl_cipher'")[0]["Value"].startswith("TLS_")


def test_nothing_connects_before_the_first_statement(mariadb: MariaDb) -> None:
    idle = Database(lambda *, fresh: pytest.fail("asked for the secret"), database=CENTRAL)
    assert idle.statements == 0


def test_the_statement_counter_agrees_with_the_server(database: Database) -> None:
    database.query("SELECT 1")
    questions = int(database.query("SHOW STATUS LIKE 'Questions'")[0]["Value"])
    assert database.statements == questions == 4


def test_rows_come_as_dicts_and_changes_as_counts(database: Database, insert: Insert) -> None:
    insert("comfy_ui_workers", worker_id="i-1", is_draining=0)
    insert("comfy_ui_workers", worker_id="i-2", is_draining=1)
    assert database.execute("UPDATE comfy_ui_workers SET is_draining = 1") == 1
    assert database.query("SELECT worker_id, is_draining FROM comfy_ui_workers ORDER BY id") == [
        {"worker_id": "i-1", "is_draining": 1},
        {"worker_id": "i-2", "is_draining": 1},
    ]


def test_an_insert_gives_the_new_id(database: Database) -> None:
    first = database.insert("INSERT INTO worker_audit_logs (event) VALUES (%s)", ("fleet_drained",))
    second = database.insert("INSERT INTO worker_audit_logs (event) VALUES (%s)", ("fleet_undrained",))
    assert second == first + 1


def test_a_transaction_is_all_or_nothing(database: Database, other: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.transaction() as transaction:
        transaction.insert("INSERT INTO worker_audit_logs (event) VALUES ('lost')")
        raise ZeroDivisionError
    with database.transaction() as transaction:
        transaction.insert("INSERT INTO worker_audit_logs (event) VALUES ('kept')")
    assert other.query("SELECT event FROM worker_audit_logs") == [{"event": "kept"}]


def test_a_session_that_died_idle_is_replaced_before_use(database: Database, root: Connection, impatient: None) -> None:
    first = session_id(database)
    kill(root, database)
    assert session_id(database) != first


@pytest.mark.parametrize("use", ["transaction", "stage_lock"])
def test_the_first_use_after_an_outage_takes_a_new_session_and_holds_nothing_back(
    database: Database, root: Connection, impatient: None, use: str
) -> None:
    kill(root, database)
    entered = database.transaction() if use == "transaction" else database.stage_lock("fleet-test")
    with entered:
        assert database.query("SELECT 1 AS one") == [{"one": 1}]


def test_a_session_that_dies_in_use_is_a_named_error_and_the_next_use_works(
    database: Database, root: Connection
) -> None:
    kill(root, database)
    with pytest.raises(DatabaseUnavailable, match="connection was lost"):
        database.query("SELECT 1")
    assert database.query("SELECT 1 AS one") == [{"one": 1}]


def test_a_transaction_is_never_continued_on_another_session(
    database: Database, root: Connection, other: Database, impatient: None
) -> None:
    def half_then_die() -> None:
        with database.transaction() as transaction:
            transaction.insert("INSERT INTO worker_audit_logs (event) VALUES ('first half')")
            root.query(f"KILL {database._connection.thread_id()}")  # type: ignore[union-attr]
            time.sleep(0.05)
            transaction.insert("INSERT INTO worker_audit_logs (event) VALUES ('second half')")

    with pytest.raises(DatabaseUnavailable, match="look again"):
        half_then_die()
    assert other.query("SELECT event FROM worker_audit_logs") == []


def test_the_stage_lock_excludes_and_is_released(database: Database, other: Database) -> None:
    with database.stage_lock("fleet-test") as mine:
        assert mine
        began = time.monotonic()
        with other.stage_lock("fleet-test", wait_seconds=0.2) as theirs:
            assert not theirs
        assert 0.15 < time.monotonic() - began < 1.5
    with other.stage_lock("fleet-test", wait_seconds=0) as theirs:
        assert theirs


def test_the_stage_lock_is_released_after_an_error(database: Database, other: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.stage_lock("fleet-test"):
        raise ZeroDivisionError
    with other.stage_lock("fleet-test", wait_seconds=0) as theirs:
        assert theirs


def test_losing_the_session_under_the_lock_is_an_error_not_a_silent_reconnect(
    database: Database, root: Connection, other: Database, impatient: None
) -> None:
    def work_under_lock() -> None:
        with database.stage_lock("fleet-test"):
            root.query(f"KILL {database._connection.thread_id()}")  # type: ignore[union-attr]
            time.sleep(0.05)
            database.query("SELECT 1")

    with pytest.raises(DatabaseUnavailable, match="look again"):
        work_under_lock()
    with other.stage_lock("fleet-test", wait_seconds=0) as theirs:
        assert theirs


def test_a_database_that_does_not_exist_is_not_migrated(mariadb: MariaDb) -> None:
    with pytest.raises(SchemaNotMigrated):
        session(mariadb, database="nowhere").query("SELECT 1")


def test_a_missing_table_is_not_migrated(mariadb: MariaDb) -> None:
    with (
        closing(open_as(mariadb, mariadb.root.username, mariadb.root.password)) as root,
        pytest.raises(SchemaNotMigrated),
    ):
        root.query("SELECT 1 FROM never_migrated")


def test_a_row_locked_by_somebody_else_is_busy_and_nothing_is_changed(
    mariadb: MariaDb, database: Database, root: Connection, insert: Insert
) -> None:
    row = insert("comfy_ui_workers", worker_id="i-1")
    database.execute("SET SESSION innodb_lock_wait_timeout = 1")
    root.begin()
    with root.cursor() as cursor:
        cursor.execute("SELECT id FROM comfy_ui_workers WHERE id = %s FOR UPDATE", (row,))
    with pytest.raises(DatabaseBusy), database.transaction() as transaction:
        transaction.insert("INSERT INTO worker_audit_logs (event) VALUES ('fleet_drained')")
        transaction.execute("UPDATE comfy_ui_workers SET is_draining = 1 WHERE id = %s", (row,))
    root.rollback()
    assert database.query("SELECT COUNT(*) AS n FROM worker_audit_logs") == [{"n": 0}]


def test_a_statement_that_takes_too_long_is_ended_by_the_server(database: Database) -> None:
    database.execute("SET SESSION max_statement_time = 0.1")
    with pytest.raises(DatabaseUnavailable, match="max_statement_time"):
        database.query(f"SELECT COUNT(*) FROM {', '.join(f'information_schema.collations {name}' for name in 'abcd')}")  # noqa: S608


def test_a_statement_that_is_wrong_in_itself_keeps_the_drivers_error(database: Database) -> None:
    with pytest.raises(pymysql.ProgrammingError):
        database.query("SELEKT 1")
