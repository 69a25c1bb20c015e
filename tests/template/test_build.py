"""`sam validate` and `sam build` as a deployment runs them, and what the built layers hold."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from lab.artifacts import KEPT_HERE

from .conftest import ROOT

TOOLS = Path(sys.executable).parent
MACHINES = {"arm64": ("aarch64", 0xB7), "x86_64": ("x86_64", 0x3E)}  # name of the wheel, e_machine of an ELF header


def run(*command: str, path: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    tools = os.pathsep.join(filter(None, [str(TOOLS), path, os.environ["PATH"]]))
    environment = os.environ | KEPT_HERE | {"PATH": tools, "AWS_DEFAULT_REGION": "us-east-1"} | variables
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def python313() -> str:
    found = run(str(ROOT / "scripts/python313.sh"))
    if found.returncode:
        pytest.skip(found.stderr.strip())
    return found.stdout.strip()


@pytest.fixture(scope="session")
def build(python313: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Builds for an architecture, once."""

    @cache
    def sam_build(architecture: str) -> Path:
        folder = tmp_path_factory.mktemp("built") / "build"
        parameters = ("--parameter-overrides", f"Architecture={architecture}", "--build-dir", str(folder))
        result = run("sam", "build", "--language-extensions", *parameters, path=python313)
        assert result.returncode == 0, result.stdout + result.stderr
        return folder

    return sam_build


@pytest.fixture(params=["arm64", "x86_64"])
def built(request: pytest.FixtureRequest, build: Callable[[str], Path]) -> Path:
    return build(request.param)


def elf_machine(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[18:20], "little")


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


@pytest.mark.parametrize("architecture", MACHINES)
def test_every_binary_of_the_layer_is_of_the_architecture(build: Callable[[str], Path], architecture: str) -> None:
    name, machine = MACHINES[architecture]
    libraries = sorted((build(architecture) / "DependenciesLayer/python").rglob("*.so"))
    assert [library.parent.name for library in libraries] == ["pydantic_core", "wrapt"]
    assert all(f"-{name}-" in library.name and elf_machine(library) == machine for library in libraries)


def test_layer_brings_all_that_is_pinned_and_leaves_the_sdk_to_the_runtime(built: Path) -> None:
    folders = (built / "DependenciesLayer/python").glob("*.dist-info")
    installed = {folder.name.split("-")[0] for folder in folders}
    pins = (ROOT / "layers/dependencies/requirements.txt").read_text().splitlines()
    assert installed == {line.split("==")[0].replace("-", "_") for line in pins if "==" in line}
    assert not {"boto3", "botocore"} & installed


def test_certificates_lie_where_the_functions_look(built: Path) -> None:
    shipped = (built / "DependenciesLayer/certificates/rds-ca-bundle.pem").read_bytes()
    assert shipped == (ROOT / "layers/dependencies/rds-ca-bundle.pem").read_bytes()


def test_functions_are_their_own_code_and_the_package_is_the_layer(built: Path) -> None:
    assert {path.name for path in (built / "ReconcileFunction").iterdir()} == {"app.py"}
    assert (built / "FleetControlLayer/python/fleet_control/settings.pyc").is_file()


@pytest.mark.parametrize("stage", ["staging", "production"])
def test_a_stage_is_deployed_with_one_command(stage: str) -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())[stage]
    assert config["global"]["parameters"]["language_extensions"] is True
    deploy = config["deploy"]["parameters"]
    assert {"CAPABILITY_AUTO_EXPAND", "CAPABILITY_NAMED_IAM"} <= set(deploy["capabilities"].split())
    assert f"Stage={stage}" in deploy["parameter_overrides"]
