"""The templates' roles, and one exercised stage for all tests here: run once, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from lab.iam.roles import Role, Stacks, read_roles
from lab.secrecy import produced

from .judge import ROOT, resolved

EXERCISE_SECONDS = 210


@dataclass(frozen=True)
class Run:
    """What an exercised stage left behind."""

    directory: Path

    @property
    def journal(self) -> Path:
        return self.directory / "run" / "journal.jsonl"

    @cached_property
    def markers(self) -> Mapping[str, str]:
        """The run's secrets, by what they are."""
        found: Mapping[str, str] = json.loads((self.directory / "markers.json").read_text())
        return found

    def evidence(self, file: str) -> Any:
        """What the lab keeps of every run, or what only the exercise asks."""
        kept = self.directory / "run" / "evidence" / file
        return json.loads((kept if kept.exists() else self.directory / "evidence" / file).read_text())

    def produced(self) -> list[Path]:
        """Every file of the run but the database's own data and keys."""
        return [*produced(self.directory / "run"), *produced(self.directory / "evidence")]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Whichever test process comes first makes it; the others wait and read."""
    directory = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        directory = directory.parent
    directory = directory / "privilege-run"
    directory.mkdir(exist_ok=True)
    with (directory / "lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not (directory / "markers.json").exists():
            exercise(directory)
    return Run(directory)


def exercise(directory: Path) -> None:
    path = os.pathsep.join([str(ROOT / "layers" / "fleet_control"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "AWS_DEFAULT_REGION": "us-east-1"}
    command = [sys.executable, "-m", "tests.privilege.exercise", str(directory)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=EXERCISE_SECONDS
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="session")
def stacks() -> Stacks:
    return resolved()


@pytest.fixture(scope="session")
def roles(stacks: Stacks) -> dict[str, Role]:
    return read_roles(stacks)
