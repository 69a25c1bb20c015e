"""Tells the run as it happens: follows the journal, the functions' logs and the workers' own words."""

import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from lab.lines import Line, line, when
from lab.tail import Tail

LOOK_SECONDS = 0.1
STYLES = {"scene": "1", "decision": "36", "good": "32", "bad": "31", "quiet": "2", "plain": "0"}


class Narrator:
    """A thread that prints one line per event, with the seconds since `start` (unix time) before it."""

    def __init__(self, run: Path, start: float, write: Callable[[str], Any] | None = None) -> None:
        self._run, self._start = run, start
        self._write = write or partial(print, flush=True)
        self._colour = write is None and sys.stdout.isatty()
        self._tails: dict[Path, Tail] = {}
        self._told: dict[tuple[str, str], tuple[str, str]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="narrator", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Tell what is left, then stop."""
        self._stop.set()
        self._thread.join(3)

    def _follow(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self.tell()
        self.tell()

    def tell(self) -> None:
        for entry in sorted(self._entries(), key=when):
            spoken = line(entry) if when(entry) >= self._start else None
            if spoken is not None and not self._repeats(entry):
                self._write(self._format(entry, spoken))

    def _entries(self) -> Iterator[dict[str, Any]]:
        for path in [self._run / "journal.jsonl", *self._run.glob("logs/*.log"), *self._run.glob("workers/*.jsonl")]:
            yield from self._tails.setdefault(path, Tail(path)).entries()

    def _repeats(self, entry: dict[str, Any]) -> bool:
        """A decision that is the same as the last one about the same thing is in the log, and not said again."""
        if entry.get("message") != "decision":
            return False
        subject = (str(entry.get("fleet")), str(entry.get("instance_id", "")))
        content = (str(entry.get("rule")), str(entry.get("reason")))
        repeated = self._told.get(subject) == content
        self._told[subject] = content
        return repeated

    def _format(self, entry: dict[str, Any], spoken: Line) -> str:
        at = when(entry) - self._start
        text = f"{at:6.1f} s  {spoken.text}"
        if spoken.tone == "scene":
            text = f"\n{at:6.1f} s  ── {spoken.text} ──"
        return f"\033[{STYLES[spoken.tone]}m{text}\033[0m" if self._colour else text
