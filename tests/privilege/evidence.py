"""What an exercised stage can be asked of itself: everything in which a secret could turn up, and every statement."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pymysql

from lab import observer
from lab.cloud.custom import ResponseDesk
from lab.evidence import keep, secrets_of
from lab.report import write_report
from lab.secrecy import marked
from lab.world import World

from .statements import FORBIDDEN

USER = "fleet_control"


class Recording:
    """What is noted while the stage lives. `markers` are its secrets by what they are."""

    def __init__(self, directory: Path) -> None:
        self.evidence = directory / "evidence"
        self.evidence.mkdir(parents=True, exist_ok=True)
        self.markers: dict[str, str] = {}
        self.refusals: list[str] = []
        self._given_up: set[str] = set()
        self._letter_writers: set[str] = set()
        self.called: set[tuple[str, str]] = set()
        """(function, API operation) of every call that was answered."""

    def watch(self, world: World) -> None:
        world.journal.listen(self._hear)
        log_statements(world)

    def _hear(self, entry: Mapping[str, Any]) -> None:
        if entry["kind"] == "dead_letter":
            self._given_up.add(entry["function"])
        if entry["kind"] == "aws_call" and entry["operation"] == "SendMessage":
            self._letter_writers.add(str(entry["caller"]))
        if entry["kind"] == "aws_call" and not entry["error"]:
            self.called.add((entry["caller"], entry["operation"]))

    def given_up(self) -> set[str]:
        """Functions that have sent an event to their failure destination."""
        return set(self._given_up)

    def letter_writers(self) -> set[str]:
        """Functions that have put a message into a queue themselves."""
        return set(self._letter_writers)

    @contextmanager
    def of_answers(self) -> Iterator[None]:
        """What CloudFormation was told."""
        take = ResponseDesk.take

        def recorded(desk: ResponseDesk, path: str, answer: dict[str, Any]) -> None:
            self._add("answers.jsonl", answer)
            take(desk, path, answer)

        with patch.object(ResponseDesk, "take", recorded):
            yield

    def _add(self, file: str, entry: Any) -> None:
        with (self.evidence / file).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(entry) + "\n")

    def keep(self, file: str, content: Any) -> None:
        (self.evidence / file).write_text(json.dumps(content, default=str, indent=1), encoding="utf-8")

    def marker(self, what: str) -> str:
        """A new secret that is recognised wherever it turns up."""
        self.markers[what] = marked()
        return self.markers[what]

    def wrong_secrets(self, right: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """(secret, its wrong text), of the kinds that tempt an error to quote the value."""
        yield "master-credentials", json.dumps({**right, "password": self.marker("wrong password")})
        yield "master-credentials", '{"username": "admin", "password": "' + self.marker("secret that is not JSON")
        without_host = {key: value for key, value in right.items() if key != "host"}
        yield "master-credentials", json.dumps({**without_host, "password": self.marker("secret without a host")})
        yield "fleet-control", json.dumps({**right, "password": self.marker("secret of another user")})


def collect(world: World, recording: Recording, began: float) -> None:
    """Ask the stage for everything, while it still stands."""
    recording.markers |= secrets_of(world)
    keep(world)
    recording.keep("statements.json", statements(world))
    recording.keep("logins.json", logins(world))
    recording.keep("forbidden.json", refused(world, recording.markers["password of fleet_control"]))
    recording.keep("refusals.json", recording.refusals)
    told = observer.gather(world.run_dir, world.connect, world.cloud.client("autoscaling", "observer"))
    summary = observer.summarize(told, time.time() - began)
    recording.keep("summary.json", summary)
    write_report(recording.evidence / "report.html", summary, told, began)


def log_statements(world: World) -> None:
    """From now until it stops, the server keeps every statement with the account that sent it."""
    with world.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL log_output = 'TABLE', GLOBAL general_log = 1")


def statements(world: World) -> list[str]:
    """Everything our user has sent, values in place, each form of it once."""
    with world.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT CAST(argument AS CHAR) AS statement FROM mysql.general_log"
            " WHERE user_host LIKE %s AND command_type = 'Query'",
            (f"{USER}[%",),
        )
        return [row["statement"] for row in cursor.fetchall()]


def logins(world: World) -> list[str]:
    """Who has logged in since the exercise began, to what and how: `user@host on database using TCP/IP`."""
    with world.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT CAST(argument AS CHAR) AS login FROM mysql.general_log WHERE command_type = 'Connect'"
        )
        return [row["login"] for row in cursor.fetchall()]


def refused(world: World, password: str) -> dict[str, str | None]:
    """Each forbidden statement, as our user on the deployed database: the server's error, None when it went through."""
    return {statement: _error(world, password, statement) for statement in FORBIDDEN}


def _error(world: World, password: str, statement: str) -> str | None:
    with world.connect(user=USER, password=password) as connection, connection.cursor() as cursor:
        try:
            cursor.execute(statement)
        except pymysql.MySQLError as error:
            return str(error)
        return None
