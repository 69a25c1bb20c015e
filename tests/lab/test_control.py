"""Wishes to the world of `make lab`: granted, refused in words, and never the end of it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import ask as command
from lab.control import Control, ask


def jobs(workflow: str, count: int = 1) -> str:
    if workflow != "face-swap":
        raise ValueError(f"no workflow {workflow!r}")
    return f"submitted {count}"


def look() -> str:
    raise RuntimeError("the database is away")


@pytest.fixture
def control() -> Iterator[Control]:
    running = Control({"jobs": jobs, "look": look})
    running.start()
    yield running
    running.close()


def test_a_wish_is_granted(control: Control) -> None:
    assert ask(control.port, "jobs", {"workflow": "face-swap", "count": 5}) == (True, "submitted 5")


@pytest.mark.parametrize(
    ("wish", "given", "told"),
    [
        ("jobs", {"workflow": "nobodys"}, "jobs: no workflow 'nobodys'"),
        ("look", {}, "look: the database is away"),
        ("dance", {}, "dance: nobody grants that here, only jobs, look"),
        ("jobs", {"number": 5}, "unexpected keyword argument 'number'"),
    ],
)
def test_a_refusal_says_why_and_the_next_wish_is_granted(
    control: Control, wish: str, given: dict[str, object], told: str
) -> None:
    done, text = ask(control.port, wish, given)
    assert (done, told in text) == (False, True), text
    assert ask(control.port, "jobs", {"workflow": "face-swap"}) == (True, "submitted 1")


def test_the_command_finds_the_world_by_its_file(
    control: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "WORLD", tmp_path / "lab.json")
    assert command.main(["jobs", "face-swap", "2"]) == 1
    assert "start one with: make lab" in capsys.readouterr().err
    (tmp_path / "lab.json").write_text(json.dumps({"control_port": control.port}))
    with pytest.raises(SystemExit):
        command.main(["away"])
    assert command.main(["look"]) == 1
    assert "the database is away" in capsys.readouterr().err
