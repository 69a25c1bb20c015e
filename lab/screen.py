"""What is said on screen is kept as well: a run is judged by everything it produced."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import TextIOBase
from pathlib import Path
from typing import TextIO


class Screen(TextIOBase):
    """Writes to the terminal, and to a file."""

    def __init__(self, terminal: TextIO, kept: TextIO) -> None:
        self._terminal, self._kept = terminal, kept

    def write(self, text: str) -> int:
        self._kept.write(text)
        return self._terminal.write(text)

    def flush(self) -> None:
        self._kept.flush()
        self._terminal.flush()

    def isatty(self) -> bool:
        return self._terminal.isatty()


@contextmanager
def kept(path: Path) -> Iterator[None]:
    """Until the block ends, what is printed goes to this file, too; it is whole after each flush."""
    with path.open("w", encoding="utf-8") as file, redirect_stdout(Screen(sys.stdout, file)):
        yield
