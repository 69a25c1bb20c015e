import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pymysql
import pytest

from lab.certificates import issue_certificates
from lab.mariadb import Connection, MariaDb


def one(connection: Connection, sql: str) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        row = cursor.fetchone()
    assert row is not None
    return row


def test_speaks_verified_tls_in_strict_utc(mariadb: MariaDb) -> None:
    with mariadb.connect() as connection:
        row = one(connection, "SELECT @@time_zone AS zone, @@sql_mode AS mode, NOW() = UTC_TIMESTAMP() AS utc")
        cipher = one(connection, "SHOW STATUS LIKE 'Ssl_cipher'")
    assert row["zone"] == "+00:00"
    assert "STRICT_TRANS_TABLES" in row["mode"]
    assert row["utc"] == 1
    assert cipher["Value"].startswith("TLS_")


def test_a_client_with_another_authority_is_turned_away(mariadb: MariaDb, tmp_path: Path) -> None:
    stranger = issue_certificates(tmp_path).ca_file
    with pytest.raises(pymysql.err.OperationalError, match="CERTIFICATE_VERIFY_FAILED"):
        mariadb.connect(ssl_ca=str(stranger))


def test_the_master_user_may_create_users_and_databases_but_is_no_superuser(mariadb: MariaDb) -> None:
    with mariadb.connect(user=mariadb.master.username, password=mariadb.master.password) as connection:
        grants = one(connection, "SHOW GRANTS")
    text = next(iter(grants.values()))
    assert "CREATE USER" in text
    assert "WITH GRANT OPTION" in text
    assert "SUPER" not in text


def test_tables_have_the_collation_and_the_poll_index_of_the_contract(database: Connection) -> None:
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT table_name AS t, table_collation AS c FROM information_schema.tables WHERE table_schema='bp'"
        )
        tables = {row["t"]: row["c"] for row in cursor.fetchall()}
        cursor.execute("SHOW INDEX FROM ai_job_dispatches WHERE Key_name = 'idx_dispatch_poll'")
        poll = [row["Column_name"] for row in cursor.fetchall()]
    assert set(tables.values()) == {"utf8mb4_unicode_ci"}
    assert set(tables) == {
        "workflows",
        "ai_job_dispatches",
        "comfy_ui_workers",
        "worker_workflows",
        "worker_audit_logs",
        "tenants",
    }
    assert poll == ["workflow_id", "status", "attempts", "priority", "created_at"]


def test_comes_back_on_the_same_port_with_its_rows_after_an_outage(tmp_path: Path) -> None:
    with MariaDb(tmp_path / "db") as server:
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE kept (id int)")
            cursor.execute("INSERT INTO kept VALUES (7)")
        server.stop_for(0.2)
        with server.connect() as connection:
            assert one(connection, "SELECT id FROM kept") == {"id": 7}


PARENT = """
import sys, threading, time
from pathlib import Path
from lab.mariadb import MariaDb
server = MariaDb(Path(sys.argv[1]))
restart = threading.Thread(target=server.start)  # a thread that ends must not take the server with it
restart.start(); restart.join()
print((server.data / "server.pid").read_text().strip(), flush=True)
time.sleep(60)
"""


def test_the_server_dies_with_the_process_that_started_it_and_not_with_a_thread(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "db")], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    server = int(parent.stdout.readline())
    time.sleep(0.2)
    os.kill(server, 0)  # alive after its starting thread has ended
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert _gone_within(server, seconds=5)


def _gone_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False
