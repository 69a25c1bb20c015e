"""Stand-in functions, small enough to start in a fraction of a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from lab.cloud.functions import Function, LambdaService
from lab.cloud.journal import Journal

from .database import database, mariadb  # noqa: F401 - fixtures
from .fleets import fleet  # noqa: F401 - fixture

Write = Callable[..., Function]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.jsonl")
    yield journal
    journal.close()


@pytest.fixture
def write_function(tmp_path: Path) -> Write:
    """Write `functions/<name>/app.py` and describe it; keyword arguments go to Function."""

    def write(name: str, body: str, **settings: object) -> Function:
        folder = tmp_path / "functions" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "app.py").write_text(dedent(body))
        return Function(name=name, code_dir=folder, **settings)  # type: ignore[arg-type]

    return write


@pytest.fixture
def service(tmp_path: Path, journal: Journal) -> Iterator[LambdaService]:
    service = LambdaService(tmp_path / "logs", journal, scale=0.001)
    yield service
    service.close()
