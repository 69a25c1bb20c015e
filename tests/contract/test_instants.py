"""Timestamps on their way from MariaDB: read faster than the driver does, and no differently."""

from datetime import datetime

from fleet_control.act.database import Database

from lab.mariadb import Connection


def test_instants_come_as_the_driver_would_give_them(database: Database, root: Connection) -> None:
    with root.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = ''")
        cursor.execute(
            """INSERT INTO worker_audit_logs (event, created_at)
               VALUES ('a', '2026-01-05 12:00:30'), ('b', NULL), ('c', '0000-00-00 00:00:00')"""
        )
    written = [row["created_at"] for row in database.query("SELECT created_at FROM worker_audit_logs ORDER BY event")]
    assert written == [datetime(2026, 1, 5, 12, 0, 30), None, "0000-00-00 00:00:00"]  # noqa: DTZ001 - naive UTC
    [exact] = database.query("SELECT CAST('2026-01-05 12:00:30.25' AS DATETIME(2)) AS at")
    assert exact["at"].microsecond == 250_000
