"""What the trial run of the image's steps says of itself: written by the run, held against the list, never by hand."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from .hcl import PACKER

STEPS = PACKER / "test/steps"
NEED_A_GPU_OR_MODELS = {
    "install-nvidia-drivers.sh": "simulated driver",
    "check-nvidia-drivers.sh": "not-run driver",
    "install-pytorch.sh": "not-run CUDA",
    "sync-models.sh": "not-run models",
    "self-test.sh": "part PyTorch computes on the GPU; ComfyUI answers",
}
NEED_THE_INTERNET = {
    "install-comfyui.sh": "substitute ComfyUI's source",
    "install-cloudwatch-agent.sh": "substitute the CloudWatch agent's package",
}


def planned(text: str | None = None) -> dict[str, str]:
    lines = [line for line in (text or STEPS.read_text()).splitlines() if not line.startswith("#")]
    return {line.split()[0]: " ".join(line.split()[1:]) for line in lines}


def trial(place: Path, plan: str | None = None, ci: str = "", **steps: str) -> tuple[int, dict[str, str], str]:
    """With steps that only say their names, besides those given as pieces of bash; what the run made of it."""
    listed, report = place / "steps", place / "report"
    listed.write_text(plan) if plan else shutil.copy(STEPS, listed)
    cases = "".join(f"{name.replace('_', '-')}) {what} ;; " for name, what in steps.items())
    script = f"""set -euo pipefail
    . {PACKER}/test/trial.sh
    run_step() {{
      echo "$1"
      case $1 in {cases} self-test.sh) echo "self-test: left out: PyTorch computes on the GPU"
        echo "self-test: left out: ComfyUI answers" ;; esac
    }}
    simulate() {{ echo "$1 simulated"; }}
    substitute_in() {{ cat {place}/"$1" 2>/dev/null || true; }}
    go_through {listed} {report}
    judge {listed} {report}"""
    done = subprocess.run(
        ["/bin/bash", "-c", script],
        env={"PATH": "/usr/bin:/bin", "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, planned(report.read_text() or "#"), done.stdout + done.stderr


def without_internet(place: Path) -> None:
    for name, what in NEED_THE_INTERNET.items():
        (place / name).write_text(f"{what.removeprefix('substitute ')}\n")


def test_the_list_leaves_out_driver_cuda_and_models_and_substitutes_two_downloads_and_nothing_else() -> None:
    assert {name: how for name, how in planned().items() if how != "runs"} == NEED_A_GPU_OR_MODELS | NEED_THE_INTERNET


def test_where_all_can_be_reached_everything_else_ran_really(tmp_path: Path) -> None:
    code, report, said = trial(tmp_path, ci="true")
    assert code == 0, said
    assert list(report) == list(planned())
    assert {name: how for name, how in report.items() if how != "runs"} == NEED_A_GPU_OR_MODELS


def test_a_substitute_is_reported_as_one(tmp_path: Path) -> None:
    without_internet(tmp_path)
    code, report, said = trial(tmp_path)
    assert code == 0, said
    assert report == planned()


def test_on_ci_a_substitute_is_not_enough(tmp_path: Path) -> None:
    without_internet(tmp_path)
    code, _, said = trial(tmp_path, ci="true")
    assert code != 0
    assert "not the real thing: install-comfyui.sh substitute ComfyUI's source" in said


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        ("install-comfyui.sh runs", 'did "install-comfyui.sh substitute ComfyUI'),
        ("self-test.sh runs", 'did "self-test.sh part PyTorch'),
        (
            "self-test.sh part PyTorch computes on the GPU",
            'did "self-test.sh part PyTorch computes on the GPU; ComfyUI',
        ),
    ],
)
def test_a_list_that_claims_more_than_was_done_is_refused(tmp_path: Path, claim: str, words: str) -> None:
    without_internet(tmp_path)
    code, _, said = trial(tmp_path, plan=f"install-base.sh runs\n{claim}\n")
    assert code != 0
    assert words in said


def test_a_step_that_fails_ends_the_run_and_is_not_reported_as_run(tmp_path: Path) -> None:
    code, report, said = trial(tmp_path, **{"install_comfyui.sh": "return 3"})
    assert code != 0
    assert "install-comfyui.sh failed" in said
    assert "install-comfyui.sh" not in report
    assert "install-base.sh" in report
