"""The image's scripts and units, as far as they can be judged without running them; packer/test/run.sh runs them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from comfyui_worker.settings import Settings

from .hcl import PACKER, ROOT

SHELL = sorted(
    [
        *ROOT.glob("packer/**/*.sh"),
        *ROOT.glob("scripts/**/*.sh"),
        *ROOT.glob("docker/**/*.sh"),
        ROOT / ".ci/run",
        PACKER / "files/start-logs",
    ]
)
TOOLS = Path(sys.executable).parent
STEPS = [path for path in (PACKER / "scripts").glob("*.sh") if path.name != "common.sh"]


def directives(path: Path) -> list[tuple[str, str]]:
    text = path.read_text().replace("\\\n", " ")
    return [(key, value.strip()) for key, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)]


def values(path: Path, key: str) -> list[str]:
    return [value for name, value in directives(path) if name == key]


def test_shellcheck_finds_nothing_in_any_script() -> None:
    done = subprocess.run(
        [TOOLS / "shellcheck", "--external-sources", *SHELL], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert len(SHELL) > 15
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", STEPS, ids=lambda path: path.name)
def test_every_step_stops_at_its_first_failure(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == '. "$(dirname "${BASH_SOURCE[0]}")/common.sh"'
    assert "set -euo pipefail" in (PACKER / "scripts/common.sh").read_text()


@pytest.mark.parametrize("path", STEPS, ids=lambda path: path.name)
def test_every_file_that_a_step_installs_is_there(path: Path) -> None:
    named = re.findall(r'"\$image/([a-z/._-]+)"', path.read_text())
    assert [name for name in named if not (PACKER / name).exists()] == []


def test_no_version_stands_in_a_script() -> None:
    found = {path.name: re.findall(r"\b\d+\.\d+\.\d+\b", path.read_text()) for path in STEPS}
    found["self-test.sh"] = [text for text in found["self-test.sh"] if text != "127.0.0"]
    assert {name: texts for name, texts in found.items() if texts} == {}


def test_comfyui_listens_on_this_machine_only_and_runs_as_its_own_user() -> None:
    unit = PACKER / "files/comfyui.service"
    [start] = values(unit, "ExecStart")
    assert "--listen 127.0.0.1 --port 8188" in start
    assert values(unit, "User") == ["comfyui"]
    assert values(unit, "IPAddressDeny") == ["any"]
    assert values(unit, "IPAddressAllow") == ["localhost"]


@pytest.mark.parametrize(
    "directive",
    [
        *("NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes", "RestrictSUIDSGID=yes"),
        *("CapabilityBoundingSet=", "RestrictNamespaces=yes", "ProtectKernelModules=yes", "LockPersonality=yes"),
        "SystemCallArchitectures=native",
    ],
)
def test_units_that_serve_are_hardened(directive: str) -> None:
    key, value = directive.split("=")
    for unit in (PACKER / "files/comfyui.service", PACKER / "worker/comfyui-worker.service"):
        assert value in values(unit, key), unit.name


def test_worker_and_comfyui_are_different_users() -> None:
    users = [
        values(unit, "User") for unit in (PACKER / "files/comfyui.service", PACKER / "worker/comfyui-worker.service")
    ]
    assert users == [["comfyui"], ["worker"]]


def test_what_the_units_run_is_what_the_steps_install() -> None:
    steps = "\n".join(path.read_text() for path in STEPS)
    for unit in (PACKER / "files/comfyui.service", PACKER / "worker/comfyui-worker.service"):
        [start] = values(unit, "ExecStart")
        assert start.split()[0].removesuffix("/bin/python") in steps


def test_what_the_programs_say_is_collected_under_the_names_that_they_say_it_by() -> None:
    rules = (PACKER / "files/rsyslog.conf").read_text()
    routed = dict(re.findall(r'\$programname == "([\w-]+)" then \{ action\(type="omfile" file="([^"]+)"', rules))
    spoken = [
        value
        for unit in (PACKER / "files/comfyui.service", PACKER / "worker/comfyui-worker.service")
        for value in values(unit, "SyslogIdentifier")
    ]
    agent = json.loads((PACKER / "files/cloudwatch-agent.json").read_text())
    collected = [file["file_path"] for file in agent["logs"]["logs_collected"]["files"]["collect_list"]]
    assert set(routed) == {*spoken, "gpu-worker-user-data"}
    assert sorted(routed.values()) == sorted(collected)
    assert "logger -t gpu-worker-user-data" in (ROOT / "stacks/gpu-fleet.yaml").read_text()


def test_what_comfyui_leaves_goes_before_it_fills_the_disk_and_after_its_job_has_ended() -> None:
    lines = (PACKER / "files/comfyui.tmpfiles").read_text().splitlines()
    ages = {Path(line.split()[1]).name: line.split()[-1] for line in lines if line.startswith("d ")}
    assert ages == dict.fromkeys(("input", "output", "temp"), "2h")
    assert Settings.job_timeout < 2 * 3600
    assert values(PACKER / "files/tmpfiles-timer.conf", "OnUnitActiveSec") == ["15min"]
    assert "/etc/systemd/system/systemd-tmpfiles-clean.timer.d/" in (PACKER / "scripts/install-comfyui.sh").read_text()
