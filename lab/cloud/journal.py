"""What happened in the world, as JSON lines in the order it happened."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class Journal:
    """Appends entries `{"t": unix seconds, "kind": ..., ...}` to a file; safe to call from any thread."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self._listeners: list[Callable[[Entry], None]] = []

    def listen(self, listener: Callable[[Entry], None]) -> None:
        """Call `listener` with every later entry, in the thread that writes it: it must be quick and not write back."""
        self._listeners.append(listener)

    def write(self, kind: str, **fields: Any) -> None:
        with self._lock:
            entry = {"t": round(time.time(), 4), "kind": kind, **fields}
            if not self._file.closed:
                self._file.write(json.dumps(entry, default=str) + "\n")
                self._file.flush()
            for listener in self._listeners:
                listener(entry)

    def close(self) -> None:
        with self._lock:
            self._file.close()


def read(path: Path) -> list[Entry]:
    """All entries of a journal, oldest first; a line cut short by a kill is left out."""
    entries: list[Entry] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return entries
