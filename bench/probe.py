"""One measurement in a process of its own: `python -m bench.probe '<json>'`, answers JSON on its last line.

{"function": "reconcile", "runs": 5, "compare": 3, "root": {…}} makes one cold call, then `runs` warm ones, `compare`
of them paired with the straightforward way. Function logs go to stdout before the answer, as they would on Lambda.
"""

from __future__ import annotations

import gc
import json
import os
import re
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql
from fleet_control.act.aws import client
from fleet_control.act.database import open_database
from fleet_control.act.secrets import Secrets
from fleet_control.settings import CommonSettings, environment

from bench.product import Product, decided
from bench.straightforward import Publish, Tick

Figures = dict[str, Any]


def main(order: Figures) -> Figures:
    """Cold first; memory before anything but the product has run in this process."""
    product = Product(order["function"])
    figures = _cold(product)
    figures |= _counts(product, order["root"])
    figures["peak_mb"] = peak_mb()
    figures["runs"] = [_run(product) for _ in range(order["runs"])]
    if order["compare"]:
        figures |= _compare(product, order)
    return figures


def _cold(product: Product) -> Figures:
    calls = _calls()
    began = time.perf_counter()
    product()
    seconds = time.perf_counter() - began
    return {
        "cold_s": seconds,
        "statements": product.statements,
        "cold_aws_calls": sum(_calls().values()) - sum(calls.values()),
    }


def _counts(product: Product, root: Figures) -> Figures:
    """Of one warm call: AWS calls by operation, and rows the server's handlers read for it."""
    with closing(pymysql.connect(**root)) as session:
        nothing = -_rows(session) + _rows(session)
        calls, rows = _calls(), _rows(session)
        product()
        examined = _rows(session) - rows - nothing
    after = _calls()
    made = {name: count - calls.get(name, 0) for name, count in after.items() if count != calls.get(name, 0)}
    return {"aws_calls": sum(made.values()), "aws": made, "rows_examined": examined}


def _rows(session: Any) -> int:
    with session.cursor() as cursor:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Handler_read%'")
        return sum(int(row[1]) for row in cursor.fetchall())


def _calls() -> dict[str, int]:
    with urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"], timeout=5) as answer:  # noqa: S310 - our own
        found: dict[str, int] = json.load(answer)
    return found


def _run(product: Product) -> Figures:
    sql, decide, statements = product.sql.seconds, product.decide.seconds, product.statements
    gc.collect()  # what the run before left is not this run's
    cpu, began = time.process_time(), time.perf_counter()
    product()
    return {
        "total_s": time.perf_counter() - began,
        "cpu_s": time.process_time() - cpu,
        "sql_s": product.sql.seconds - sql,
        "decide_s": product.decide.seconds - decide,
        "warm_statements": product.statements - statements,
    }


def _compare(product: Product, order: Figures) -> Figures:
    """Pairs, one after the other, so that a busy machine is busy for both. Both must come to the same end."""
    other = _straightforward(order["function"])
    pairs = []
    for _ in range(order["compare"]):
        ours = _run(product)["total_s"]
        began = time.perf_counter()
        outcome = other()
        pairs.append([ours, time.perf_counter() - began])
        if decided(outcome) != decided(product.outcome):
            raise AssertionError(f"the two ways differ: {_difference(decided(outcome), decided(product.outcome))}")
    return {"pairs": pairs}


def _difference(theirs: dict[str, object], ours: dict[str, object]) -> list[tuple[str, object, object]]:
    keys = sorted({*theirs, *ours})
    return [(key, theirs.get(key), ours.get(key)) for key in keys if theirs.get(key) != ours.get(key)][:3]


def _straightforward(function: str) -> Callable[[], Any]:
    settings = CommonSettings.from_env(environment())
    database = open_database(settings, Secrets(client("secretsmanager")))
    if function == "reconcile":
        return Tick(database, settings.stage)
    return Publish(database, settings.stage, settings.metrics_namespace)


def peak_mb() -> float:
    """High-water mark of this process's resident memory. Not getrusage: that one inherits the parent's."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found.group(1)) / 1024 if found else 0.0


if __name__ == "__main__":
    answer = main(json.loads(sys.argv[1]))
    print(json.dumps(answer))  # noqa: T201
