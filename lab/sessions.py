"""A database session as one PHP process has it: Laravel's isolation, no retries, replaced after any error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pymysql

if TYPE_CHECKING:  # the site's process imports this module and must not carry the server's
    from lab.mariadb import Connection

Row = dict[str, Any]


class AwayError(Exception):
    """The backend answers 500 or not at all: no database, a deadlock, a lock wait that timed out."""


class Session:
    """Opens on first use; not shared between threads. `connect` opens a connection to the central database."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._connection: Connection | None = None

    @contextmanager
    def request(self) -> Iterator[None]:
        """Any database error inside is the request's 500 (AwayError); the broken connection goes with it."""
        try:
            if self._connection is None:
                self._connection = self._connect()
                self.write("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield
        except pymysql.err.MySQLError as error:
            self.close()
            raise AwayError(str(error)) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        connection = self._open()
        connection.begin()
        try:
            yield
        except BaseException:
            if connection.open:
                connection.rollback()
            raise
        connection.commit()

    def rows(self, sql: str, *values: Any) -> list[Row]:
        with self._open().cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall())

    def write(self, sql: str, *values: Any) -> int:
        """The id of an inserted row, 0 otherwise."""
        with self._open().cursor() as cursor:
            cursor.execute(sql, values)
            return int(cursor.lastrowid or 0)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and connection.open:
            connection.close()

    def _open(self) -> Connection:
        if self._connection is None:
            raise AwayError("no session")
        return self._connection
