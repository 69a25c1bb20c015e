"""The table of what is scaled says what the template says."""

import shutil
from pathlib import Path

import pytest

from lab import pace
from lab.deployed import TEMPLATE, defaults


def copied(folder: Path, path: str, old: str, new: str) -> Path:
    """The templates in a folder of their own, one of them changed; the path of the application's."""
    shutil.copy(TEMPLATE, folder)
    for name in ("stacks", "statemachines"):
        shutil.copytree(TEMPLATE.parent / name, folder / name)
    text = (folder / path).read_text()
    assert old in text
    (folder / path).write_text(text.replace(old, new))
    return folder / "template.yaml"


CHANGES = {
    "a default of the fleets": ("stacks/gpu-fleet.yaml", "IdleSeconds: { Type: Number, Default: 120", "idle_seconds"),
    "a parameter handed down": ("template.yaml", "ScaleToZeroMinutes: { Type: Number, Default: 15", "empty_minutes"),
    "a worker's interval": ("stacks/gpu-fleet.yaml", "HEARTBEAT_INTERVAL_SECONDS=30", "heartbeat_seconds"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_the_template_says_is_what_is_read(tmp_path: Path, name: str) -> None:
    path, line, value = CHANGES[name]
    changed = copied(tmp_path, path, line, line.rstrip("0123456789") + "47")
    assert defaults(changed)[value] == "47"
    assert defaults()[value] != "47"


def test_fleets_that_differ_are_both_told(tmp_path: Path) -> None:
    first = "image-to-video: { MinSize: 0, MaxSize: 10, BacklogTarget: 2, WarmupSeconds: "
    changed = copied(tmp_path, "template.yaml", f"{first}300", f"{first}600")
    assert defaults(changed)["warmup_seconds"] == "600 or 300"


def test_the_screen_shows_what_is_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(pace, "defaults", lambda: {name: f"<{name}>" for name in defaults()})
    pace.show_scale()
    told = capsys.readouterr().out
    for name in ("tick_seconds", "idle_seconds", "empty_minutes", "drain_limit_seconds", "heartbeat_seconds"):
        assert f"<{name}>" in told
