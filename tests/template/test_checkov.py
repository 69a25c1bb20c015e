"""checkov on what is deployed: no finding without its reason, no reason without its finding."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from lab.iam.resolve import Stack
from lab.render import Template, render

from .conftest import ROOT
from .variants import Variant

Finding = tuple[str, str]
"""Check, and stack/logical id; the root's stack is empty."""


@pytest.fixture(scope="module")
def checkov() -> str:
    found = subprocess.run([ROOT / "scripts/checkov.sh"], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"checkov cannot be installed: {found.stderr.strip().splitlines()[-1]}")
    return found.stdout.strip()


def plain(resources: Template) -> Template:
    """A template that says the same without conditions and references."""
    return {"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}


def write(folder: Path, stacks: dict[str, Template]) -> None:
    folder.mkdir()
    for name, resources in stacks.items():
        text = json.dumps(plain(resources))
        (folder / f"{name or 'root'}.json").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def findings(checkov: str, tmp_path_factory: pytest.TempPathFactory) -> set[Finding]:
    """Of both stages, one with a certificate and one without, and of the stack that is deployed before them."""
    folder = tmp_path_factory.mktemp("checkov")
    for stage, https, workflows in (("staging", False, 1), ("production", True, 3)):
        variant = Variant(tmp_path_factory.mktemp("variants"), stage, https, workflows)
        write(folder / stage, variant.stacks)
    parameters = {"Stage": "staging", "GitHubRepository": "example/bp"}
    cicd = Stack(render(ROOT / "stacks/cicd.yaml", parameters), parameters).resources()
    write(folder / "first", {"Cicd": cicd})
    command = [checkov, "--directory", str(folder), "--framework", "cloudformation", "--output", "json"]
    done = subprocess.run(
        [*command, "--quiet", "--compact", "--skip-download", "--soft-fail"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"LOG_LEVEL": "ERROR"},
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["summary"]["passed"] > 300
    assert report["summary"]["parsing_errors"] == 0
    return {(c["check_id"], where(c)) for c in report["results"]["failed_checks"]}


def where(check: dict[str, Any]) -> str:
    stack = Path(check["file_path"]).stem.replace("root", "")
    return f"{stack}/{check['resource'].rpartition('.')[2]}"


def exceptions() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads((Path(__file__).parent / "checkov.toml").read_text())["exception"]
    return found


def explains(exception: dict[str, Any], finding: Finding) -> bool:
    check, resource = finding
    return check == exception["check"] and any(fnmatch(resource, pattern) for pattern in exception["on"])


def test_every_finding_has_its_reason(findings: set[Finding]) -> None:
    unexplained = sorted(f for f in findings if not any(explains(e, f) for e in exceptions()))
    assert not unexplained, unexplained


def test_every_reason_has_its_finding(findings: set[Finding]) -> None:
    idle = [
        (exception["check"], pattern)
        for exception in exceptions()
        for pattern in exception["on"]
        if not any(explains(exception | {"on": [pattern]}, finding) for finding in findings)
    ]
    assert not idle, idle
    assert all(len(exception["reason"]) > 25 for exception in exceptions())


def test_a_finding_would_be_seen(checkov: str, tmp_path: Path) -> None:
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {"AccessControl": "PublicRead"}}
    write(tmp_path / "bad", {"Bad": {"OpenBucket": bucket}})
    command = [checkov, "--directory", str(tmp_path / "bad"), "--framework", "cloudformation", "--check", "CKV_AWS_20"]
    done = subprocess.run(
        [*command, "--quiet", "--compact", "--skip-download"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "OpenBucket" in done.stdout
