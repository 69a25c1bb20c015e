"""The table of events/README.md: which function answers a sample, and how."""

import json
from dataclasses import dataclass
from typing import Any

from lab.artifacts import ROOT

EVENTS = ROOT / "events"


@dataclass(frozen=True)
class Row:
    """`answers` by situation."""

    sample: str
    function: str
    answers: dict[str, Any]


def rows() -> list[Row]:
    lines = (EVENTS / "README.md").read_text(encoding="utf-8").splitlines()
    return [_row(line) for line in lines if line.startswith("| `")]


def _row(line: str) -> Row:
    sample, function, _, nobody, at_work = (cell.strip().strip("`") for cell in line.strip("|").split("|"))
    return Row(sample, function, {"nobody": json.loads(nobody), "at_work": json.loads(at_work)})


def missing(expected: Any, answer: Any, where: str = "answer") -> list[str]:
    """What the answer lacks of what is expected; an object may hold more, `…` is any text."""
    if isinstance(expected, dict) and isinstance(answer, dict):
        return [
            fault
            for key, value in expected.items()
            for fault in (
                missing(value, answer[key], f"{where}.{key}") if key in answer else [f"{where}.{key}: absent"]
            )
        ]
    if isinstance(expected, list) and isinstance(answer, list) and len(expected) == len(answer):
        pairs = zip(expected, answer, strict=True)
        return [fault for number, pair in enumerate(pairs) for fault in missing(*pair, f"{where}[{number}]")]
    same = isinstance(answer, str) if expected == "…" else answer == expected
    return [] if same else [f"{where}: {answer!r}, expected {expected!r}"]
