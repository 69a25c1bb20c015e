"""The image's own test before the snapshot: what is wrong is said, and stops the build."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from .hcl import PACKER
from .stubs import Desk

SCRIPT = PACKER / "scripts/self-test.sh"


def self_test(place: Path, *arguments: str, answers: bool = True) -> subprocess.CompletedProcess[str]:
    """On this machine, which is no image: only what the stand-ins decide can be good."""
    desk = Desk(place / "bin")
    for name in ("runuser", "aws", "systemd-analyze"):
        desk.command(name)
    desk.command("systemctl", '[ "$1" != is-enabled ] || exit 1')
    desk.command("timeout", "" if answers else "exit 124")
    return desk.run("/bin/bash", SCRIPT, *arguments)


@pytest.mark.parametrize(("answers", "word"), [(True, "ok"), (False, "FAILED")])
def test_a_comfyui_that_never_answers_fails_the_test_although_it_can_be_stopped(
    tmp_path: Path, answers: bool, word: str
) -> None:
    assert f"self-test: {word}: ComfyUI answers" in self_test(tmp_path, answers=answers).stdout


def test_one_failure_among_many_fails_the_build_and_the_others_are_told_too(tmp_path: Path) -> None:
    done = self_test(tmp_path)
    assert done.returncode == 1
    assert "self-test: ok: unit files are valid" in done.stdout
    assert done.stdout.count("FAILED: ") > 1
    assert f"{done.stdout.count('FAILED: ')} of the checks failed" in done.stderr


def test_what_needs_the_gpu_is_said_to_be_left_out_and_nothing_else_is(tmp_path: Path) -> None:
    whole, part = (
        set(re.findall(r"^self-test: (?:ok|FAILED|left out): (.*)$", done.stdout, re.MULTILINE))
        for done in (self_test(tmp_path), self_test(tmp_path, "--without-gpu"))
    )
    assert whole == part
    left_out = re.findall(r"left out: (.*)", self_test(tmp_path, "--without-gpu").stdout)
    assert left_out == ["PyTorch computes on the GPU", "ComfyUI answers"]
