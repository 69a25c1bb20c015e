"""The site as a process of its own: `python -m lab.site`. Writes its port to a file and serves until it is killed.

POST /control/boot {"instance": …, "seconds": …}   a new machine, whose ComfyUI is up after so many seconds
POST /control/warn {"instance": …, "seconds": …}   its metadata service announces the end
"""

from __future__ import annotations

import argparse
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pymysql
from pymysql.cursors import DictCursor

from lab.backend_http import BackendApi
from lab.site.answers import Answer, Question, as_json
from lab.site.server import Site
from lab.site.storage import Storage

if TYPE_CHECKING:
    from lab.mariadb import Connection


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lab.site", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="of the database, like port, user and CA")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--user", default="backend")
    parser.add_argument("--ca-file", required=True)
    parser.add_argument("--registrations-per-minute", type=int, default=10)
    parser.add_argument("--port-file", type=Path, required=True)
    return parser.parse_args(arguments)


def connector(options: argparse.Namespace, password: str) -> Callable[[], Connection]:
    def connect() -> Connection:
        return pymysql.connect(
            host=options.host,
            port=options.port,
            user=options.user,
            password=password,
            database="bp",
            charset="utf8mb4",
            autocommit=True,
            cursorclass=DictCursor,
            connect_timeout=3,
            ssl_ca=options.ca_file,
            ssl_verify_cert=True,
            ssl_verify_identity=True,
        )

    return connect


def controlled(site: Callable[[], Site]) -> Callable[[Question], Answer]:
    """What the lab may have happen to an instance."""

    def control(question: Question) -> Answer:
        asked = question.json()
        instance, seconds = str(asked["instance"]), float(asked["seconds"])
        if question.instance == "boot":
            site().boot(instance, seconds)
        elif question.instance == "warn":
            site().instance(instance).metadata.warn(seconds)
        else:
            return Answer(404)
        return as_json({})

    return control


def main() -> None:
    options = parse()
    storage = Storage()
    connect = connector(options, os.environ["LAB_DB_PASSWORD"])
    api = BackendApi(
        connect,
        storage,
        os.environ["LAB_FLEET_SECRET"],
        registrations_per_minute=options.registrations_per_minute,
        token_mark=os.environ.get("LAB_TOKEN_MARK", ""),
    )
    site = Site(api, storage, controlled(lambda: site))
    site.start()
    new = options.port_file.with_suffix(".new")
    new.write_text(site.url, encoding="utf-8")
    new.replace(options.port_file)
    threading.Event().wait()


if __name__ == "__main__":
    main()
