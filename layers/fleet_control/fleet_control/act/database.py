"""One MariaDB session per execution environment, and the only place that knows pymysql.

Made lazily, checked before use, never left holding a lock or a transaction. Every failure comes out as a named
error that says what to do next; a statement that is wrong in itself keeps pymysql's own error.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol

import pymysql
from pymysql import converters
from pymysql.constants import FIELD_TYPE
from pymysql.cursors import DictCursor

from fleet_control.act import database_errors
from fleet_control.act.secrets import DatabaseLogin, Secrets
from fleet_control.errors import DatabaseUnavailable
from fleet_control.settings import CommonSettings

CONNECT_SECONDS = 3
# Above the server's own limit, so that the server ends a slow statement and we learn why.
SOCKET_SECONDS = 8
UNCHECKED_SECONDS = 1.0
# A server's own sql_mode is not ours to know: under another one a statement would mean something else, or be refused.
# To intersect the index on status with one that nearly every row of history is in means to read that history.
_SESSION = (
    "SET SESSION sql_mode='STRICT_ALL_TABLES,ONLY_FULL_GROUP_BY,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,"
    "NO_ENGINE_SUBSTITUTION', autocommit=1, tx_isolation='READ-COMMITTED', time_zone='+00:00',"
    " wait_timeout=60, max_statement_time=5, innodb_lock_wait_timeout=3,"
    " optimizer_switch='index_merge_intersection=off'"
)
_SET_UP_STATEMENTS = 2  # the driver's SET NAMES, and _SESSION


def _instant(text: str) -> object:
    """The driver's own way takes ten times as long, and there are four of them in a worker's row."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return converters.convert_datetime(text)  # what is no date (a zero date) stays what the driver makes of it


_CONVERSIONS = converters.conversions | {FIELD_TYPE.TIMESTAMP: _instant, FIELD_TYPE.DATETIME: _instant}

Row = dict[str, Any]
Params = Sequence[object] | Mapping[str, object] | None


class LoginSource(Protocol):
    def __call__(self, *, fresh: bool) -> DatabaseLogin: ...


class Database:
    """Not for use by several threads at once. `statements` counts what was sent, session set-up included."""

    def __init__(self, login: LoginSource, *, database: str | None, ca_file: str = "") -> None:
        """`database` None: no default schema. `ca_file` empty: no TLS."""
        self._login = login
        self._database = database
        self._ca_file = ca_file
        self._connection: pymysql.Connection[DictCursor] | None = None
        self._used_at = (0.0, 0.0)
        self._held = 0
        self.statements = 0

    @property
    def uses_tls(self) -> bool:
        return bool(self._ca_file)

    def query(self, sql: str, params: Params = None) -> list[Row]:
        """All rows of one statement."""
        with self._cursor(sql, params) as cursor:
            return list(cursor.fetchall())

    def execute(self, sql: str, params: Params = None) -> int:
        """Runs one statement, gives the number of rows it changed (not: matched)."""
        with self._cursor(sql, params) as cursor:
            return int(cursor.rowcount)

    def insert(self, sql: str, params: Params = None) -> int:
        """Runs one INSERT, gives the new row's id."""
        with self._cursor(sql, params) as cursor:
            return int(cursor.lastrowid)

    @contextmanager
    def transaction(self) -> Iterator[Database]:
        """Commits at the end, rolls back on any error. Keep it to milliseconds: the backend waits for our rows."""
        # The first statement may still replace a session that went stale: nothing is held yet.
        self.execute("START TRANSACTION")
        with self._holding():
            try:
                yield self
                self.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    @contextmanager
    def stage_lock(self, name: str, wait_seconds: float = 2) -> Iterator[bool]:
        """Yields whether the advisory lock is ours. A connection lost inside is an error: the lock went with it."""
        got = self.query("SELECT GET_LOCK(%s, %s) AS got", (name, wait_seconds))[0]["got"] == 1
        with self._holding():
            try:
                yield got
            finally:
                if got:
                    self._release(name)

    def close(self) -> None:
        """Ends the session; the next use makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.open:
            connection.close()

    @contextmanager
    def _cursor(self, sql: str, params: Params) -> Iterator[DictCursor]:
        try:
            connection = self._live()
            with connection.cursor() as cursor:
                self.statements += 1
                cursor.execute(sql, params)
                yield cursor
            self._used_at = _clocks()
        except pymysql.MySQLError as error:
            if database_errors.is_lost(error):
                self.close()
            named = database_errors.named(error)
            if named is None:
                raise
            raise named from error

    def _live(self) -> pymysql.Connection[DictCursor]:
        if self._connection is None:
            self._connection = self._connect()
        elif not self._recently_used() and not self._answers(self._connection):
            self.close()
            if self._held:
                raise DatabaseUnavailable("the connection was lost, and with it our lock or transaction: look again")
            self._connection = self._connect()
        return self._connection

    def _recently_used(self) -> bool:
        # Both clocks: a frozen execution environment may stop one of them.
        return all(now - then < UNCHECKED_SECONDS for now, then in zip(_clocks(), self._used_at, strict=True))

    @staticmethod
    def _answers(connection: pymysql.Connection[DictCursor]) -> bool:
        try:
            connection.ping(reconnect=False)
        except pymysql.MySQLError:
            return False
        return True

    def _connect(self) -> pymysql.Connection[DictCursor]:
        try:
            return self._open(self._login(fresh=False))
        except pymysql.OperationalError as error:
            if error.args[0] != database_errors.ACCESS_DENIED:
                raise
        # The secret was rotated since we cached it. Once: a second refusal is a wrong secret.
        return self._open(self._login(fresh=True))

    def _open(self, login: DatabaseLogin) -> pymysql.Connection[DictCursor]:
        tls: dict[str, Any] = {"ssl_disabled": True}
        if self._ca_file:
            tls = {"ssl_ca": self._ca_file, "ssl_verify_cert": True, "ssl_verify_identity": True}
        try:
            connection = pymysql.connect(
                host=login.host,
                port=login.port,
                user=login.username,
                password=login.password.get_secret_value(),
                database=self._database,
                charset="utf8mb4",
                cursorclass=DictCursor,
                conv=_CONVERSIONS,
                init_command=_SESSION,
                autocommit=None,  # set by _SESSION: one statement less
                connect_timeout=CONNECT_SECONDS,
                read_timeout=SOCKET_SECONDS,
                write_timeout=SOCKET_SECONDS,
                **tls,
            )
        except OSError as error:
            raise DatabaseUnavailable(f"the CA file {self._ca_file} (DB_CA_FILE) cannot be used: {error}") from error
        except (pymysql.MySQLError, *database_errors.GARBLED) as error:
            if isinstance(error, pymysql.MySQLError) and not database_errors.is_lost(error):
                raise
            where = f"{login.host}:{login.port}"
            raise DatabaseUnavailable(f"no MariaDB answers at {where}: check host and port of the secret") from error
        self.statements += _SET_UP_STATEMENTS
        self._used_at = _clocks()
        return connection

    @contextmanager
    def _holding(self) -> Iterator[None]:
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    def _roll_back(self) -> None:
        try:
            if self._connection is not None:
                self._connection.rollback()
        except pymysql.MySQLError:
            self.close()  # a closed session is rolled back by the server

    def _release(self, name: str) -> None:
        try:
            if self._connection is not None:
                self.query("SELECT RELEASE_LOCK(%s)", (name,))
        except Exception:  # noqa: BLE001 - a closed session frees its locks; the body's own error matters more
            self.close()


def open_database(settings: CommonSettings, secrets: Secrets) -> Database:
    """The central database, as the user of the settings' secret. Connects at first use."""

    def login(*, fresh: bool) -> DatabaseLogin:
        return secrets.database_login(settings.db_secret_id, fresh=fresh)

    return Database(login, database=settings.central_db_name, ca_file=settings.db_ca_file)


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.time()
