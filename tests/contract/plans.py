"""The product's statements, found in its adapters, and what each may do: read by an index, or scan with a reason."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from fleet_control import act
from fleet_control.act import jobs, queue_metrics, tenants, workers

SQL = re.compile(r"\s*(SELECT|WITH|UPDATE|DELETE|INSERT|REPLACE)\s")
SLUGS = {"slugs": ("a", "b")}
MINUTE = (datetime(2026, 1, 5, 12), datetime(2026, 1, 5, 12, 1))  # noqa: DTZ001 - naive UTC, as the database's
CREW = "every worker of the stage is wanted, at most a few thousand rows and none of a worker that is gone"
SLUGS_OF_ALL = "every workflow is wanted: a row for each thing that the product sells"


@dataclass(frozen=True)
class Judged:
    """`scans` are tables, by the name in the statement, that it reads as a whole, and why that is right. `most` is how
    many rows it may examine on the stage of `history.py`: what is live or recent there, and temporary tables of it."""

    params: tuple[Any, ...] | Mapping[str, Any] = ()
    scans: Mapping[str, str] = field(default_factory=dict)
    most: int = 120


JUDGED: dict[str, Judged] = {
    jobs.WORKFLOWS: Judged(scans={"workflows": SLUGS_OF_ALL}),
    jobs.LIVE: Judged(scans={"w": SLUGS_OF_ALL}),
    jobs.NEWEST: Judged(),
    jobs.BACKLOG: Judged(SLUGS),
    jobs.LEASED_AT: Judged(((4, 5, 6),)),
    jobs.DURATIONS: Judged(((1, 2),), most=2_000),
    jobs.REQUEUE: Judged(("Requeued: x", 4, "token")),
    workers.FLEET_WORKERS: Judged(("i-%",), scans={"w": CREW}),
    workers.ONE_WORKER: Judged(("i-4",)),
    workers.HEARD_BESIDE: Judged(("i-4",)),
    workers.LEASES_OF: Judged(("i-5",)),
    workers.HOLDS_LEASE: Judged(("i-5",)),
    workers.REGISTRATIONS: Judged((500,), most=1_000),
    workers.LOCK: Judged((4,)),
    workers.LOCK_OURS: Judged((4, "i-4")),
    workers.DRAIN: Judged((1,)),
    workers.UNDRAIN: Judged((4,)),
    workers.NEWEST_DRAIN: Judged((4,)),
    workers.FORGET_WORKFLOWS: Judged((4,)),
    workers.FORGET: Judged((4,)),
    queue_metrics.WORKFLOWS: Judged(scans={"w": SLUGS_OF_ALL}),
    queue_metrics.LIVE: Judged(most=300),
    queue_metrics.WORKERS: Judged(scans={"w": CREW, "ww": CREW, "holder": CREW}, most=400),
    queue_metrics.FINISHED: Judged(most=4_000),
    queue_metrics.GIVEN_BACK: Judged(MINUTE),
}

EXCEPTED = {
    jobs.AUDIT: "appends a row and reads none",
    workers._WORKERS: "a form: FLEET_WORKERS and ONE_WORKER are made of it",
    tenants._HELD: "reads the server's own list of grants, at deployments alone",
    "SELECT UTC_TIMESTAMP() AS now": "no table",
    "SELECT GET_LOCK(%s, %s) AS got": "no table",
    "SELECT RELEASE_LOCK(%s)": "no table",
}


def statements() -> dict[str, str]:
    """Every text of SQL in the adapters by where it stands: constants as they are at run time, and texts inside
    functions."""
    found = {}
    for module in pkgutil.iter_modules(act.__path__, f"{act.__name__}."):
        loaded = importlib.import_module(module.name)
        texts = [(name, value) for name, value in vars(loaded).items() if isinstance(value, str)]
        texts += [("a function", text) for text in _inside_functions(Path(str(loaded.__file__)))]
        for name, text in texts:
            if SQL.match(text):
                found[text] = f"{module.name}: {name}"
    return found


def _inside_functions(path: Path) -> Iterator[str]:
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    for function in functions:
        for node in ast.walk(function):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def faults(plan: list[dict[str, Any]], judged: Judged, indexes: set[str]) -> list[dict[str, Any]]:
    """Steps that read a table of the contract by other means than an index of the contract, or through a whole one."""
    read = [step for step in plan if step["table"] and not step["table"].startswith("<")]
    return [step for step in read if step["table"] not in judged.scans and not _by_index(step, indexes)]


def _by_index(step: dict[str, Any], indexes: set[str]) -> bool:
    used = set(re.split(r"[|,]", step["key"] or "none"))
    return used <= indexes and step["type"] not in ("ALL", "index")
