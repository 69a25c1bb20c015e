"""What the image will hold: the package, its requirements and its unit."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from comfyui_worker.__main__ import NO_USE
from comfyui_worker.settings import Settings

WORKER = Path(__file__).parents[2] / "packer" / "worker"
UNIT = WORKER / "comfyui-worker.service"


def unit() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def test_the_self_test_passes_on_this_installation() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "comfyui_worker", "--self-test"],
        env={"PYTHONPATH": str(WORKER)}, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "FAILED" not in ran.stdout


def test_the_package_imports_nothing_but_what_its_requirements_pin() -> None:
    pinned = set(re.findall(r"^([a-z0-9-]+)==", (WORKER / "requirements.txt").read_text(), re.MULTILINE))
    imported = {
        name.partition(".")[0]
        for path in (WORKER / "comfyui_worker").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in names_of(node)
    }
    assert imported - set(sys.stdlib_module_names) - {"comfyui_worker"} <= pinned


def names_of(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def test_every_requirement_has_hashes_and_no_address() -> None:
    text = (WORKER / "requirements.txt").read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text


def test_the_unit_gives_the_worker_the_time_it_counts_on() -> None:
    [stop] = unit()["TimeoutStopSec"]
    assert int(stop) > Settings.stop_grace > Settings.requeue_margin
    assert unit()["RestartPreventExitStatus"] == [str(NO_USE)]
    assert unit()["StateDirectory"] == [Settings.state_directory.name]
    assert unit()["CacheDirectory"] == [Settings.cache_directory.name]


def test_a_worker_that_polls_and_breaks_again_and_again_is_left_down() -> None:
    """Each poll makes it look alive: the control plane would never replace it."""
    [interval], [burst], [pause] = (unit()[name] for name in ("StartLimitIntervalSec", "StartLimitBurst", "RestartSec"))
    longest = 2 * Settings.comfyui_patience + int(pause)  # before the lease, and again under the job
    assert int(burst) * longest < int(interval)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze judges the unit")
def test_systemd_finds_the_unit_well_protected() -> None:
    ran = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(UNIT)],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-400:]
