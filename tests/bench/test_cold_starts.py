"""Cold starts are absent only where they cannot be measured; a function that fails is a failure of the benchmark."""

from pathlib import Path
from typing import Any, NoReturn

import pytest

from bench import cold_start
from bench.__main__ import cold
from lab.artifacts import NoPython313Error
from lab.cold_start import FIRST
from tests.template.conftest import ROOT


def failing(error: Exception) -> Any:
    def fail(*_: object) -> NoReturn:
        raise error

    return fail


def test_without_lambdas_python_the_figures_are_absent_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cold_start, "build", failing(NoPython313Error("python3.13 with pip is missing")))
    figures = cold(tmp_path)
    assert figures["cold_start_ratio"] == {}
    assert figures["cold_start_absent"] == "python3.13 with pip is missing"


@pytest.mark.parametrize("part", ["build", "cold_starts"])
def test_a_build_or_a_function_that_fails_ends_the_benchmark(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, part: str
) -> None:
    monkeypatch.setattr(cold_start, "build", lambda *_: None)
    monkeypatch.setattr(cold_start, part, failing(RuntimeError("AmiRolloutFunction: BadSettings")))
    with pytest.raises(RuntimeError, match="AmiRolloutFunction: BadSettings"):
        cold(tmp_path)


def test_every_function_is_woken_and_has_its_row_on_the_page() -> None:
    functions = {path.parent.name for path in (ROOT / "functions").glob("*/app.py")}
    assert {cold_start._folder(name) for name in FIRST} == functions
    page = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    table = page.split("## Cold start")[1].split("**Does it matter?**")[0]
    assert [name for name in sorted(functions) if f"| {name} |" not in table] == []
