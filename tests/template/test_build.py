"""`sam validate` and the linters as a deployment runs them, and what a deployment is told. Builds: tests/package."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lab.artifacts import KEPT_HERE

from .conftest import ROOT

TOOLS = Path(sys.executable).parent


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    tools = os.pathsep.join([str(TOOLS), os.environ["PATH"]])
    environment = os.environ | KEPT_HERE | {"PATH": tools, "AWS_DEFAULT_REGION": "us-east-1"} | variables
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_template_is_valid() -> None:
    result = run("sam", "validate", "--lint", "--language-extensions")
    assert result.returncode == 0, result.stdout + result.stderr


def test_tools_keep_nothing_in_the_home_directory(tmp_path: Path) -> None:
    result = run("sam", "validate", "--language-extensions", HOME=str(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["__SAM_CLI_APP_DIR", "PIP_CACHE_DIR", "UV_CACHE_DIR"])
def test_make_has_tools_keep_what_they_keep_in_the_build_folder(name: str) -> None:
    result = run("make", "--silent", "--eval", "show: ; @env", "show")
    kept = dict(line.split("=", 1) for line in result.stdout.splitlines() if "=" in line)
    assert Path(kept[name]).is_relative_to(ROOT / "build")


def test_templates_are_free_of_errors_and_warnings() -> None:
    result = run("cfn-lint", "template.yaml", *map(str, sorted((ROOT / "stacks").glob("*.yaml"))))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", ["template.yaml", *(f"stacks/{p.name}" for p in (ROOT / "stacks").glob("*.yaml"))])
def test_a_template_stays_short_enough_to_read(path: str) -> None:
    assert len((ROOT / path).read_text().splitlines()) < 400


@pytest.mark.parametrize("stage", ["staging", "production"])
def test_a_stage_is_deployed_with_one_command(stage: str) -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())[stage]
    assert config["global"]["parameters"]["language_extensions"] is True
    deploy = config["deploy"]["parameters"]
    assert {"CAPABILITY_AUTO_EXPAND", "CAPABILITY_NAMED_IAM"} <= set(deploy["capabilities"].split())
    assert f"Stage={stage}" in deploy["parameter_overrides"]
