"""A private MariaDB for one run: TLS with its own authority, UTC, strict, never flushed to disk, gone with the lab."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pymysql
from pymysql.cursors import DictCursor

from lab import processes
from lab.certificates import Certificates, issue_certificates
from lab.secrecy import marked

Connection: TypeAlias = "pymysql.Connection[DictCursor]"

CENTRAL = "bp"
LAB = "lab"  # what the platform keeps elsewhere (tenant pools, S3) and the fake ComfyUI need; not the product's
SCHEMA = Path(__file__).with_name("schema.sql")
START_DEADLINE = 15.0
# What Amazon RDS grants its master user: everything a deployment may count on, and no SUPER.
RDS_MASTER_GRANTS = (
    "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, RELOAD, PROCESS, REFERENCES, INDEX, ALTER, SHOW DATABASES, "
    "CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, REPLICATION SLAVE, REPLICATION CLIENT, CREATE VIEW, SHOW VIEW, "
    "CREATE ROUTINE, ALTER ROUTINE, CREATE USER, EVENT, TRIGGER"
)


class ServerUnavailableError(RuntimeError):
    """No usable mariadbd, or it did not come up; the message says what to do or what it said."""


@dataclass(frozen=True)
class Credentials:
    username: str
    password: str


def find_server() -> Path:
    """Path of mariadbd; raises ServerUnavailableError with the line to show a user."""
    for folder in ("", "/usr/sbin", "/usr/libexec", "/usr/local/sbin", "/opt/homebrew/bin"):
        found = shutil.which("mariadbd", path=folder or None)
        if found:
            return Path(found).resolve()
    raise ServerUnavailableError(
        "no mariadbd found: install MariaDB 10.11 or later (Debian, Ubuntu: mariadb-server-core)"
    )


def _bootstrap_files(server: Path) -> list[Path]:
    prefix = server.parent.parent
    for share in (prefix / "share/mysql", prefix / "share/mariadb", Path("/usr/share/mysql")):
        files = [share / "mysql_system_tables.sql", share / "mysql_system_tables_data.sql"]
        if all(file.exists() for file in files):
            return files
    raise ServerUnavailableError(f"{server} has no mysql_system_tables.sql beside it")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MariaDb:
    """One server on 127.0.0.1; `directory` is emptied first. Its port stays the same across stop() and start().

    Without `tls` it is the server that a client must refuse.
    """

    host = "127.0.0.1"

    def __init__(self, directory: Path, *, tls: bool = True) -> None:
        self.directory = directory.resolve()
        self.tls = tls
        self.data = self.directory / "data"
        self._temporary = self.directory / "tmp"
        self.log = self.directory / "mariadbd.log"
        self.port = _free_port()
        self.root = Credentials("root", marked())
        self.master = Credentials("admin", marked())
        self.backend = Credentials("backend", marked())  # the application and the worker API
        self._server = find_server()
        self._process: subprocess.Popen[bytes] | None = None
        shutil.rmtree(self.directory, ignore_errors=True)
        for folder in (self.data, self._temporary):
            folder.mkdir(parents=True)
        self.certificates: Certificates = issue_certificates(self.directory / "tls")
        self._create()

    @property
    def ca_file(self) -> Path:
        return self.certificates.ca_file

    def master_secret(self) -> dict[str, Any]:
        """The JSON shape of the stage's master-credentials secret."""
        return {
            "engine": "mariadb",
            "host": self.host,
            "port": self.port,
            "username": self.master.username,
            "password": self.master.password,
            "dbname": CENTRAL,
        }

    def start(self) -> "MariaDb":
        """Return once the server answers; raises ServerUnavailableError with the end of its log otherwise."""
        if self._process is not None and self._process.poll() is None:
            return self
        self._process = processes.spawn(self._command("--skip-log-bin", *self._listening()), log=self.log)
        deadline = time.monotonic() + START_DEADLINE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerUnavailableError("mariadbd did not start:\n" + self._last_words())
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        if self._process is not None:
            processes.stop(self._process)
            self._process = None

    def stop_for(self, seconds: float) -> None:
        """Take the server away for `seconds` (connections broken, new ones refused), then bring it back; blocks."""
        self.stop()
        time.sleep(seconds)
        self.start()

    @contextmanager
    def locked_out(self, user: Credentials) -> Iterator[None]:
        """This user gets no session, and those it has are ended; all others go on."""
        account = f"{user.username}@'127.0.0.1'"
        with self.connect(user=user.username, password=user.password) as own, self.connect() as root:
            with root.cursor() as cursor:
                cursor.execute(f"ALTER USER {account} ACCOUNT LOCK")
            try:
                _end_other_sessions(own)
                yield
            finally:
                with root.cursor() as cursor:
                    cursor.execute(f"ALTER USER {account} ACCOUNT UNLOCK")

    def connect(self, **options: Any) -> Connection:
        """A session of root on the central database, TLS verified, autocommit; `options` are pymysql's and win."""
        settings: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "user": self.root.username,
            "password": self.root.password,
            "database": CENTRAL,
            "charset": "utf8mb4",
            "autocommit": True,
            "cursorclass": DictCursor,
            "connect_timeout": 3,
        }
        if self.tls:
            settings |= {"ssl_ca": str(self.ca_file), "ssl_verify_cert": True, "ssl_verify_identity": True}
        return pymysql.connect(**(settings | options))

    def __enter__(self) -> "MariaDb":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _command(self, *options: str) -> list[str]:
        as_root = [f"--user={getpass.getuser()}"] if os.geteuid() == 0 else []
        return [
            str(self._server),
            "--no-defaults",
            f"--datadir={self.data}",
            f"--tmpdir={self._temporary}",  # a server that starts clears its own: in a shared one, also its neighbours'
            "--skip-name-resolve",
            "--default-time-zone=+00:00",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_unicode_ci",
            # A run is thrown away: survive the death of the process (2), never pay for the death of the machine.
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-flush-method=nosync",
            "--innodb-doublewrite=0",
            "--innodb-log-file-size=16M",
            "--innodb-buffer-pool-size=64M",
            "--performance-schema=OFF",
            *as_root,
            *options,
        ]

    def _listening(self) -> list[str]:
        return [
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            "--socket=server.sock",  # below the data directory: an absolute path may exceed the 107 bytes of a socket
            "--pid-file=server.pid",
            *self._encrypting(),
            "--max-connections=150",  # db.t4g.small on RDS
            "--sql-mode=STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION",
        ]

    def _encrypting(self) -> list[str]:
        if not self.tls:
            return ["--skip-ssl"]
        own = self.certificates
        return [f"--ssl-ca={own.ca_file}", f"--ssl-cert={own.server_file}", f"--ssl-key={own.server_key_file}"]

    def _create(self) -> None:
        """Build the system tables from the distribution's SQL: mariadb-install-db needs tools of other packages."""
        system = "".join(file.read_text(encoding="utf-8") + "\n" for file in _bootstrap_files(self._server))
        opening = "create database mysql;\nuse mysql;\nSET @auth_root_socket=NULL;\n"
        script = opening + system + self._users()
        result = subprocess.run(
            self._command("--bootstrap"), input=script.encode(), capture_output=True, check=False, timeout=60
        )
        self.log.write_bytes(result.stderr)
        if result.returncode:
            raise ServerUnavailableError("the data directory could not be created:\n" + self._last_words())

    def _users(self) -> str:
        return "\n".join(
            (
                "DELETE FROM global_priv WHERE user = '' OR host <> 'localhost';",
                "FLUSH PRIVILEGES;",
                f"CREATE USER root@'127.0.0.1' IDENTIFIED BY '{self.root.password}';",
                "GRANT ALL PRIVILEGES ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;",
                f"CREATE USER {self.master.username}@'%' IDENTIFIED BY '{self.master.password}';",
                f"GRANT {RDS_MASTER_GRANTS} ON *.* TO {self.master.username}@'%' WITH GRANT OPTION;",
                f"CREATE DATABASE {CENTRAL} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;",
                f"CREATE DATABASE {LAB} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;",
                f"CREATE USER {self.backend.username}@'127.0.0.1' IDENTIFIED BY '{self.backend.password}';",
                f"GRANT ALL PRIVILEGES ON {CENTRAL}.* TO {self.backend.username}@'127.0.0.1';",
                f"GRANT ALL PRIVILEGES ON {LAB}.* TO {self.backend.username}@'127.0.0.1';\n",
            )
        )

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except pymysql.err.OperationalError:
            return False
        return True

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


def _end_other_sessions(own: Connection) -> None:
    """Those of the same user: a user may end its own sessions, and as on RDS nobody else may here."""
    with own.cursor() as cursor:
        cursor.execute("SELECT id FROM information_schema.processlist WHERE user = SUBSTRING_INDEX(USER(), '@', 1) "
                       "AND id <> CONNECTION_ID()")  # fmt: skip
        for row in cursor.fetchall():
            with suppress(pymysql.err.OperationalError):  # it has ended by itself meanwhile
                cursor.execute("KILL SOFT CONNECTION %s", (row["id"],))


def load_schema(connection: Connection) -> None:
    """Create the contract's tables in the session's database, which must not have them yet."""
    text = "\n".join(line for line in SCHEMA.read_text(encoding="utf-8").splitlines() if not line.startswith("--"))
    with connection.cursor() as cursor:
        for statement in text.split(";\n"):
            if statement.strip():
                cursor.execute(statement.rstrip().rstrip(";"))


def empty_tables(connection: Connection) -> None:
    """Back to empty tables between tests; ids start at 1 again."""
    with connection.cursor() as cursor:
        cursor.execute("SET FOREIGN_KEY_CHECKS = 0")
        cursor.execute("SHOW TABLES")
        for row in cursor.fetchall():
            cursor.execute(f"TRUNCATE TABLE `{next(iter(row.values()))}`")
        cursor.execute("SET FOREIGN_KEY_CHECKS = 1")


@contextmanager
def session_server(directory: Path) -> Iterator[MariaDb]:
    """For a session-scoped pytest fixture: a running server with the contract's tables, stopped at the end.

    @pytest.fixture(scope="session")
    def mariadb(tmp_path_factory):
        with session_server(tmp_path_factory.mktemp("mariadb")) as server:
            yield server
    """
    with MariaDb(directory) as server:
        with server.connect() as connection:
            load_schema(connection)
        yield server
