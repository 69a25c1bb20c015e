"""Embedded metric format: CloudWatch Logs makes metrics of the log lines that say so, and so does this."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends

from lab.cloud.names import ACCOUNT, REGION
from lab.tail import objects

MARK = b'"CloudWatchMetrics"'


class MetricLines:
    """Reads what was added to the functions' logs since the last look and stores the metrics found in it."""

    def __init__(self, logs: Path, lock: AbstractContextManager[Any]) -> None:
        self._logs, self._lock = logs, lock
        self._read: dict[Path, int] = {}

    def collect(self) -> None:
        for log in sorted(self._logs.glob("*.log")):
            for line in self._new_lines(log):
                if MARK in line:
                    for record in objects(line.decode(errors="replace")):
                        self._store(record)

    def _new_lines(self, log: Path) -> list[bytes]:
        """Whole lines only: the last one may still be being written."""
        with log.open("rb") as file:
            file.seek(self._read.get(log, 0))
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read[log] = self._read.get(log, 0) + len(whole)
        return whole.splitlines()

    def _store(self, record: dict[str, Any]) -> None:
        with self._lock:
            for namespace, datum in data(record) if "_aws" in record else ():
                cloudwatch_backends[ACCOUNT][REGION].put_metric_data(namespace, [datum])


def data(record: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(namespace, datum) for each metric, value and dimension set of one record."""
    for directive in record["_aws"]["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            dimensions = [{"Name": name, "Value": str(record[name])} for name in names]
            for metric in directive["Metrics"]:
                value = record[metric["Name"]]
                values = value if isinstance(value, list) else [value]
                datum = {"MetricName": metric["Name"], "Unit": metric.get("Unit"), "Dimensions": dimensions}
                yield directive["Namespace"], {**datum, "Values": values}
