"""The template as Packer itself reads it: its own formatter, its own evaluation, the schema of its own builder."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from .hcl import PACKER, ROOT

WORKFLOW = {"stage": "staging", "workflow_slug": "image-to-video"}
WHOLE = (1, 10)
"""The template's own required_version."""
NEWER = ("imds_support", "temporary_security_group_source_public_ip")
"""What the builder of 1.6 does not have, besides the block metadata_options."""


@cache
def program() -> tuple[str, tuple[int, int]]:
    """Its path and its version. Skips the test where there is none."""
    found = subprocess.run([ROOT / "scripts/packer.sh"], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("Packer is not installed, and this system's packages have none")
    path = found.stdout.strip()
    said = subprocess.run([path, "version"], capture_output=True, text=True, check=True, timeout=60).stdout
    major, minor = re.findall(r"\d+", said)[:2]
    return path, (int(major), int(minor))


def packer(command: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    path, _ = program()
    around = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "CHECKPOINT_DISABLE": "1"}
    return subprocess.run(
        [path, command, *arguments], cwd=cwd, env=around, capture_output=True, text=True, check=False, timeout=200
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds a copy of packer/, in the words that the Packer at hand knows."""
    folder = tmp_path_factory.mktemp("image")
    shutil.copytree(PACKER, folder / "packer")
    _, version = program()
    if version < WHOLE:
        for path in (folder / "packer").glob("*.pkr.hcl"):
            path.write_text(in_older_words(path.read_text()))
    else:
        fetched = packer("init", "packer", cwd=folder)
        assert fetched.returncode == 0, fetched.stdout + fetched.stderr
    return folder


def in_older_words(text: str) -> str:
    """For 1.6, the last one that Debian has: without what came later, with regex() said otherwise."""
    text = re.sub(r"(?ms)^packer \{.*?^\}\n", "", text)
    text = re.sub(rf"\n *({'|'.join(NEWER)}) +=.*|\n *metadata_options \{{[^}}]*\}}", "", text)
    text = re.sub(r'(volume_type += "gp3")', r"\1\n    iops = 3000\n    throughput = 125", text)  # as when not set
    return re.sub(r"can\(regex\((\"[^\"]*\"), ([\w.]+)\)\)", r'(regex_replace(\2, \1, "") != \2)', text)


def validated(place: Path, **changed: str) -> subprocess.CompletedProcess[str]:
    """From the folder above, as the pipeline does it."""
    given = [part for name, value in (WORKFLOW | changed).items() for part in ("-var", f"{name}={value}")]
    return packer("validate", *given, "packer", cwd=place)


def test_packer_accepts_the_template(place: Path) -> None:
    done = validated(place)
    assert done.returncode == 0, done.stdout + done.stderr


def test_packer_would_not_write_it_otherwise() -> None:
    done = packer("fmt", "-check", "-diff", str(PACKER), cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("stage", "test", "The stage must be staging or production."),
        ("workflow_slug", "Image To Video", "The workflow slug must be lower case words"),
        ("workflow_slug", "x" * 33, "The workflow slug must be lower case words"),
        ("models_uri", "https://elsewhere.example/models", "must begin with s3://"),
        ("volume_gigabytes", "many", "number"),
    ],
)
def test_packer_refuses_what_makes_no_image(place: Path, name: str, value: str, said: str) -> None:
    done = validated(place, **{name: value})
    assert done.returncode != 0
    assert said in " ".join((done.stdout + done.stderr).split())


def test_packer_reads_the_versions_that_the_scripts_read(place: Path) -> None:
    """Evaluated by Packer, tag by tag; a variable may be asked for as long as the console has a template to read."""
    source = (place / "packer/versions.sh").read_text()
    path, _ = program()
    given = [part for name, value in WORKFLOW.items() for part in ("-var", f"{name}={value}")]
    for tag, variable in (("ComfyUICommit", "COMFYUI_COMMIT"), ("Nvidia", "NVIDIA_VERSION")):
        asked = subprocess.run(
            [path, "console", *given, "packer"],
            input=f"local.tags.{tag}\n", cwd=place, capture_output=True, text=True, check=False, timeout=60,
            env={"PATH": "/usr/bin:/bin", "HOME": str(place), "CHECKPOINT_DISABLE": "1"},
        )  # fmt: skip
        assert f"{variable}={asked.stdout.split()[-1]}\n" in source
