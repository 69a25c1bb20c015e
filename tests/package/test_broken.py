"""A package that could not run on Lambda is found out: each way of breaking one, on a copy of the build."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from lab.artifacts import HERE, Build
from lab.cold_start import Place
from lab.emulator import Emulator
from lab.sam_local import invocables

from .conftest import sample

FUNCTION, SAMPLE = "TenantPoolInitFunction", "tenant_pool_init_by_hand.json"


@dataclass(frozen=True)
class Copy:
    """Of a build's template and one function, and of the layers as they lie in /opt."""

    build: Build
    place: Place

    @property
    def code(self) -> Path:
        return self.build.folder / FUNCTION / "app.py"

    def answer(self) -> Any:
        """To a deletion, which touches neither AWS nor the database."""
        function = invocables(self.build, {})[FUNCTION]
        event = sample(SAMPLE) | {"RequestType": "Delete"}
        with Emulator(self.place.python, self.place.opt, function, self.place.log) as emulator:
            return emulator.invoke(event)


@pytest.fixture
def copy(built: Build, place: Place) -> Iterator[Copy]:
    """As deep in the repository as the build: its template names some nested stacks by their sources."""
    folder = Path(tempfile.mkdtemp(dir=built.folder.parents[1], prefix="broken-"))
    shutil.copytree(built.folder, folder / "build", ignore=shutil.ignore_patterns("python"))
    shutil.copytree(place.opt, folder / "opt")
    yield Copy(Build(folder / "build"), replace(place, opt=folder / "opt", log=folder / "log"))
    shutil.rmtree(folder)


def test_an_unbroken_copy_answers(copy: Copy) -> None:
    assert copy.answer() == {}


def test_a_wrong_handler_path_is_found_out(copy: Copy) -> None:
    template = copy.build.folder / "template.yaml"
    template.write_text(template.read_text().replace("Handler: app.handler", "Handler: app.entry"))
    assert copy.answer()["errorType"] == "Runtime.HandlerNotFound"


def test_a_wrong_code_folder_is_found_out(copy: Copy) -> None:
    template = copy.build.folder / "template.yaml"
    template.write_text(template.read_text().replace(f"CodeUri: {FUNCTION}", "CodeUri: DependenciesLayer"))
    assert copy.answer()["errorType"] == "Runtime.ImportModuleError"


@pytest.mark.parametrize("gone", ["fleet_control/errors.pyc", "pydantic_core", "annotated_types", "pymysql"])
def test_a_file_missing_in_a_layer_is_found_out(copy: Copy, gone: str) -> None:
    lost = copy.place.opt / "python" / gone
    shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    assert copy.answer()["errorType"] == "Runtime.ImportModuleError"


@pytest.mark.parametrize("local", ["import lab", "import pytest", "from functions.reconcile import app", "import moto"])
def test_an_import_that_only_works_here_is_found_out(copy: Copy, local: str) -> None:
    copy.code.write_text(f"{local}\n{copy.code.read_text()}")
    answer = copy.answer()
    assert answer["errorType"] == "Runtime.ImportModuleError"
    assert "No module named" in answer["errorMessage"]


def test_layers_for_another_machine_are_found_out(copy: Copy, builds: Callable[[str], Build]) -> None:
    other = builds("x86_64" if HERE == "arm64" else "arm64")
    other.opt([other.folder / name for name in ("FleetControlLayer", "DependenciesLayer")], copy.place.opt)
    answer = copy.answer()
    assert answer["errorType"] == "Runtime.ImportModuleError"
    assert "pydantic_core" in answer["errorMessage"]
