"""The handlers' way to the database: TLS that is verified, and every reason to refuse it said by name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from fleet_control.act.database import Database
from fleet_control.act.secrets import DatabaseLogin
from fleet_control.errors import DatabaseUnavailable

from lab.certificates import issue_certificates
from lab.mariadb import CENTRAL, MariaDb


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    with MariaDb(tmp_path_factory.mktemp("mariadb")) as running:
        yield running


@contextmanager
def session(server: MariaDb, ca_file: Path, host: str = "127.0.0.1") -> Iterator[Database]:
    login = DatabaseLogin.model_validate({**server.master_secret(), "host": host})
    with closing(Database(lambda *, fresh: login, database=CENTRAL, ca_file=str(ca_file))) as database:
        yield database


def refusal(server: MariaDb, ca_file: Path, host: str = "127.0.0.1") -> str:
    """What an operator reads. Nothing may have been sent to a server that is not trusted, the password least of all."""
    with pytest.raises(DatabaseUnavailable) as refused, session(server, ca_file, host) as database:
        database.query("SELECT 1")
    assert server.master.password not in str(refused.value)
    return str(refused.value)


def test_a_verified_server_is_spoken_to_in_tls(server: MariaDb) -> None:
    with session(server, server.ca_file) as database:
        assert database.query("SHOW STATUS LIKE 'Ssl_version'")[0]["Value"] in ("TLSv1.2", "TLSv1.3")


def test_another_authority_is_refused_by_name(server: MariaDb, tmp_path: Path) -> None:
    stranger = issue_certificates(tmp_path).ca_file
    assert "not trusted by DB_CA_FILE" in refusal(server, stranger)


def test_another_host_is_refused_by_name(server: MariaDb) -> None:
    assert "names another host than the secret" in refusal(server, server.ca_file, host="127.1")


def test_an_expired_certificate_is_refused_by_name(server: MariaDb, tmp_path: Path) -> None:
    outlived = issue_certificates(tmp_path, expired=True)
    own = server.certificates
    with server.connect() as root, root.cursor() as cursor:
        kept = own.server_file.read_bytes(), own.server_key_file.read_bytes()
        shutil.copy(outlived.server_file, own.server_file)
        shutil.copy(outlived.server_key_file, own.server_key_file)
        cursor.execute("FLUSH SSL")
        assert "certificate has expired" in refusal(server, outlived.ca_file)
        own.server_file.write_bytes(kept[0])
        own.server_key_file.write_bytes(kept[1])
        cursor.execute("FLUSH SSL")
    with session(server, server.ca_file) as database:
        assert database.query("SELECT 1 AS one") == [{"one": 1}]


def test_a_server_without_tls_is_refused_by_name(tmp_path: Path) -> None:
    authority = issue_certificates(tmp_path / "tls").ca_file
    with MariaDb(tmp_path / "mariadb", tls=False) as plain:
        assert "offers no TLS although DB_CA_FILE is set" in refusal(plain, authority)


def test_an_authority_file_that_is_none_is_refused_by_name(server: MariaDb, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    assert "DB_CA_FILE" in refusal(server, tmp_path / "ca.pem")
