"""Follow files of JSON lines while others write them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DECODER = json.JSONDecoder()


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
            yield from objects(line)


def objects(line: str) -> Iterator[dict[str, Any]]:
    """The JSON objects of a line: two, when processes that share a file wrote at the same moment."""
    rest = line.strip()
    while rest.startswith("{"):
        try:
            entry, end = DECODER.raw_decode(rest)
        except json.JSONDecodeError:
            return
        yield entry
        rest = rest[end:].lstrip()


def read(path: Path) -> list[dict[str, Any]]:
    return list(Tail(path).entries())
