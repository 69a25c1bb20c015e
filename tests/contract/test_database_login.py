"""Who may not get in, and why: each refusal names itself, and none tells a secret."""

import socket
from contextlib import closing
from pathlib import Path

import pytest
from fleet_control.act import database as module
from fleet_control.act.database import Database
from fleet_control.act.secrets import DatabaseLogin
from fleet_control.errors import DatabaseUnavailable

from lab.certificates import issue_certificates
from lab.mariadb import CENTRAL, MariaDb

from .logins import login_to, session


def test_a_rotated_secret_is_fetched_again_once(mariadb: MariaDb) -> None:
    asked: list[bool] = []

    def login(*, fresh: bool) -> DatabaseLogin:
        asked.append(fresh)
        return login_to(mariadb, **({} if fresh else {"password": "the old one"}))

    with closing(Database(login, database=CENTRAL, ca_file=str(mariadb.ca_file))) as database:
        assert database.query("SELECT 1 AS one") == [{"one": 1}]
    assert asked == [False, True]


def test_a_wrong_password_says_what_to_do_and_not_what_it_is(mariadb: MariaDb) -> None:
    with pytest.raises(DatabaseUnavailable, match="run tenant_pool_init") as caught:
        session(mariadb, password="hunter2").query("SELECT 1")
    assert "hunter2" not in str(caught.value)


def test_our_user_may_not_log_in_without_tls(mariadb: MariaDb) -> None:
    with pytest.raises(DatabaseUnavailable, match="DB_CA_FILE is empty"):
        session(mariadb, ca_file="").query("SELECT 1")


def test_another_authority_is_a_tls_failure(mariadb: MariaDb, tmp_path: Path) -> None:
    stranger = str(issue_certificates(tmp_path).ca_file)
    with pytest.raises(DatabaseUnavailable, match="not trusted by DB_CA_FILE"):
        session(mariadb, ca_file=stranger).query("SELECT 1")


def test_a_certificate_for_another_host_is_a_tls_failure(mariadb: MariaDb) -> None:
    with pytest.raises(DatabaseUnavailable, match="names another host"):
        session(mariadb, host="127.1").query("SELECT 1")


def test_a_missing_authority_names_the_variable(mariadb: MariaDb, tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="DB_CA_FILE"):
        session(mariadb, ca_file=str(tmp_path / "absent.pem")).query("SELECT 1")


def test_an_unreachable_host_is_named(mariadb: MariaDb) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
            session(mariadb, port=closed.getsockname()[1]).query("SELECT 1")


def test_a_host_that_never_answers_is_given_up_in_seconds(mariadb: MariaDb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SOCKET_SECONDS", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(DatabaseUnavailable):
            session(mariadb, port=silent.getsockname()[1]).query("SELECT 1")
