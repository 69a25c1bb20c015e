"""Stand-ins for commands: each call is written down, and answered as the test says."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Desk:
    """A folder of commands that comes first on PATH; `calls` has a line for each call."""

    folder: Path

    def command(self, name: str, answer: str = "") -> None:
        """`answer` is a piece of bash that sees the call's arguments."""
        self.folder.mkdir(exist_ok=True)
        script = self.folder / name
        script.write_text(f'#!/bin/bash\necho "{name} $*" >> "{self._record}"\n{answer}\n')
        script.chmod(0o755)

    @property
    def _record(self) -> Path:
        return self.folder / "calls.txt"

    @property
    def calls(self) -> list[str]:
        return self._record.read_text().splitlines() if self._record.exists() else []

    def run(
        self, *command: str | Path, cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        around = {"PATH": f"{self.folder}:{os.environ['PATH']}", "HOME": str(self.folder)} | environment
        return subprocess.run(command, env=around, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
