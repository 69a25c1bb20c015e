"""As much of CloudWatch Logs Insights' language as the saved queries use: fields, filter, sort, limit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]
COMPARISON = re.compile(r'([\w.@]+) (=|!=|>|in|like) (".*?"|\d+|\[.*?\]|/.*?/)')
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda found, wanted: found == wanted,
    "!=": lambda found, wanted: found != wanted,
    ">": lambda found, wanted: found is not None and float(found) > float(wanted),
    "in": lambda found, wanted: found in wanted,
    "like": lambda found, wanted: found is not None and re.search(wanted, str(found)) is not None,
}


@dataclass(frozen=True)
class Query:
    """`fields` in their order; a record is found when every filter holds."""

    fields: tuple[str, ...]
    filters: tuple[str, ...]

    def find(self, records: Iterable[Record]) -> list[Record]:
        return [record for record in records if all(holds(one, record) for one in self.filters)]


def parse(text: str) -> Query:
    """Raises ValueError naming a command that is not known here."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    commands = [line.removeprefix("|").strip().split(" ", 1) for line in lines]
    if unknown := {name for name, _ in commands} - {"fields", "filter", "sort", "limit"}:
        raise ValueError(f"unknown commands: {', '.join(sorted(unknown))}")
    fields = tuple(field.strip() for name, rest in commands if name == "fields" for field in rest.split(","))
    return Query(fields, tuple(rest for name, rest in commands if name == "filter"))


def value(record: Record, field: str) -> Any:
    """By the dotted name under which Insights discovers a field of JSON; None when the record has none."""
    if field == "@timestamp":
        return record["timestamp"]
    found: Any = record
    for part in field.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def holds(condition: str, record: Record) -> bool:
    """`and` binds closer than `or`. Raises ValueError for what is no comparison."""
    return any(all(compared(part, record) for part in option.split(" and ")) for option in condition.split(" or "))


def compared(text: str, record: Record) -> bool:
    found = COMPARISON.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"not a comparison: {text}")
    return COMPARE[found[2]](value(record, found[1]), literal(found[3]))


def literal(text: str) -> Any:
    if text.startswith("["):
        return [word.strip().strip('"') for word in text.strip("[]").split(",")]
    return text[1:-1] if text[0] in '"/' else int(text)
