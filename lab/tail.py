"""Follow files of JSON lines while others write them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Tail:
    """Whole lines that were added since the last look; a file that does not exist yet has none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def lines(self) -> list[str]:
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._offset)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.decode(errors="replace").splitlines()

    def entries(self) -> Iterator[dict[str, Any]]:
        """The JSON objects among the new lines; anything else (a traceback, a print) is left out."""
        for line in self.lines():
            entry = parse(line)
            if entry is not None:
                yield entry


def parse(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return None
    return entry if isinstance(entry, dict) else None


def read(path: Path) -> list[dict[str, Any]]:
    return list(Tail(path).entries())
