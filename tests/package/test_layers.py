"""What the layers hold: binaries of the right machine, bytecode, certificates where they are looked for, no fat."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.artifacts import ARCHITECTURES, ROOT, Build

MACHINES = {"arm64": 0xB7, "x86_64": 0x3E}
LIMITS = {"DependenciesLayer": 12_000_000, "FleetControlLayer": 200_000}
ERRORS = "python/fleet_control/errors.pyc"
UNCHECKED = 0b01  # flags of PEP 552


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_binary_is_of_the_builds_machine(builds: Callable[[str], Build], architecture: str) -> None:
    binaries = [path for path in builds(architecture).folder.rglob("*") if path.is_file() and is_elf(path)]
    assert {path.parent.name for path in binaries} == {"pydantic_core", "wrapt"}
    assert {int.from_bytes(path.read_bytes()[18:20], "little") for path in binaries} == {MACHINES[architecture]}


def is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def test_a_build_for_one_machine_is_not_that_for_the_other(builds: Callable[[str], Build]) -> None:
    names = [{path.name for path in builds(a).folder.rglob("*.so")} for a in ARCHITECTURES]
    assert names[0].isdisjoint(names[1])


@pytest.mark.parametrize("layer", LIMITS)
def test_a_layer_is_small(builds: Callable[[str], Build], architecture: str, layer: str, tmp_path: Path) -> None:
    assert zipped(builds(architecture).folder / layer, tmp_path / "layer.zip") <= LIMITS[layer]


def zipped(folder: Path, into: Path) -> int:
    """Bytes of what `sam deploy` would upload."""
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return into.stat().st_size


def test_the_layer_brings_all_that_is_pinned(builds: Callable[[str], Build], architecture: str) -> None:
    folders = (builds(architecture).folder / "DependenciesLayer/python").glob("*.dist-info")
    pins = (ROOT / "layers/dependencies/requirements.txt").read_text().splitlines()
    installed = {folder.name.split("-")[0] for folder in folders}
    assert installed == {line.split("==")[0].replace("-", "_") for line in pins if "==" in line}


def test_the_sdk_is_left_to_the_runtime(builds: Callable[[str], Build], architecture: str) -> None:
    shipped = {path.name for path in (builds(architecture).folder / "DependenciesLayer/python").iterdir()}
    assert shipped.isdisjoint({"boto3", "botocore", "s3transfer", "awslambdaric", "pip", "bin"})


def test_code_comes_compiled_and_names_no_machine_that_built_it(
    builds: Callable[[str], Build], architecture: str
) -> None:
    folder = builds(architecture).folder
    compiled = [path for layer in LIMITS for path in (folder / layer).rglob("*.pyc")]
    sources = [path for layer in LIMITS for path in (folder / layer).rglob("*.py")]
    assert len(compiled) > len(sources) > 150  # of our own package only the bytecode is shipped
    for path in compiled:
        assert path.read_bytes()[4] == UNCHECKED, f"{path} would be compared with its source at every import"
        assert str(folder).encode() not in path.read_bytes(), path
    assert b"/opt/python/fleet_control/errors.py" in (folder / "FleetControlLayer" / ERRORS).read_bytes()


def test_certificates_lie_where_every_function_looks(builds: Callable[[str], Build], architecture: str) -> None:
    build = builds(architecture)
    variables = build.template["Globals"]["Function"]["Environment"]["Variables"]
    path = Path(variables["DB_CA_FILE"])
    assert path.parts[:2] == ("/", "opt")
    shipped = (build.folder / "DependenciesLayer" / path.relative_to("/opt")).read_bytes()
    assert shipped == (ROOT / "layers/dependencies/rds-ca-bundle.pem").read_bytes()


def test_every_path_that_a_variable_names_is_shipped(builds: Callable[[str], Build], architecture: str) -> None:
    build = builds(architecture)
    variables = build.template["Globals"]["Function"]["Environment"]["Variables"].values()
    named = [Path(value).relative_to("/opt") for value in variables if str(value).startswith("/opt/")]
    assert named
    assert [path for path in named if not any((build.folder / layer / path).exists() for layer in LIMITS)] == []


def test_functions_are_nothing_but_their_own_code(builds: Callable[[str], Build], architecture: str) -> None:
    build = builds(architecture)
    for properties in (build.of_type("Function") | build.nested("Function")).values():
        folder = build.folder / properties["CodeUri"]
        assert [path.name for path in folder.iterdir()] == ["app.py"]
        assert properties["Architectures"] == [{"Ref": "Architecture"}]
