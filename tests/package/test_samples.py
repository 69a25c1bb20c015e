"""Built functions answer every sample event as events/README.md says: `sam build`, the real client, MariaDB, AWS."""

import re
import uuid
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from lab.artifacts import HERE, ROOT, Build
from lab.cloud.custom import ResponseDesk
from lab.cold_start import Place
from lab.emulator import Emulator
from lab.sam_local import Invocable, invocables, read_env_vars
from lab.stay import PORT
from lab.world import World

from . import stage
from .conftest import Environments, sample
from .table import EVENTS, Row, missing, rows

ROWS = rows()
SITUATIONS = {"nobody": stage.nobody, "at_work": stage.at_work}
SHIPPED = ("DependenciesLayer", "FleetControlLayer")


def test_every_sample_is_in_the_table_and_every_function_has_one(built: Build) -> None:
    assert sorted(row.sample for row in ROWS) == sorted(path.name for path in EVENTS.glob("*_*.json"))
    assert {row.function for row in ROWS} == built.of_type("Function").keys() | built.nested("Function").keys()


@pytest.mark.parametrize(("row", "situation"), list(product(ROWS, SITUATIONS)), ids=lambda v: getattr(v, "sample", v))
def test_a_sample_is_answered(
    row: Row, situation: str, environments: Environments, world: World, desk: ResponseDesk
) -> None:
    with world.connect() as connection:
        SITUATIONS[situation](connection)
    event, request = addressed(sample(row.sample), desk)
    assert missing(row.answers[situation], environments.answer(row.function, event)) == []
    if request:
        assert (desk.wait(request, 5) or {}).get("Status") == "SUCCESS"


def addressed(event: dict[str, Any], desk: ResponseDesk) -> tuple[dict[str, Any], str]:
    """A custom resource's event with an address of the lab's, and the name of that address; others as they are."""
    if "ResponseURL" not in event:
        return event, ""
    request = str(uuid.uuid4())
    return event | {"ResponseURL": desk.url(request)}, request


def test_nothing_is_shipped_that_no_function_imports(
    built: Build, environments: Environments, desk: ResponseDesk
) -> None:
    for row in ROWS:
        environments.answer(row.function, addressed(sample(row.sample), desk)[0])
    imported = set().union(*(noted(environments.log(function)) for function in {row.function for row in ROWS}))
    for layer in SHIPPED:
        python = built.folder / layer / "python"
        names = {
            path.stem for path in python.iterdir() if path.suffix in ("", ".py", ".pyc") and path.name != "__pycache__"
        }
        assert names - {name.split(".")[0] for name in imported} == set(), layer
    assert own_modules(built) - imported == set()


def noted(log: Path) -> set[str]:
    """Modules that `-X importtime` reported."""
    pattern = re.compile(r"^import time: .*\| +([\w.]+)$", re.MULTILINE)
    return set(pattern.findall(log.read_text(encoding="utf-8", errors="replace")))


def own_modules(built: Build) -> set[str]:
    root = built.folder / "FleetControlLayer/python"
    paths = [path.relative_to(root).with_suffix("") for path in root.rglob("*.pyc")]
    return {".".join(path.parts).removesuffix(".__init__") for path in paths}


@pytest.fixture(scope="module")
def local(built: Build, world: World) -> dict[str, Invocable]:
    """What `sam local invoke --env-vars events/local-env.json` would run, but for the port of the endpoint."""
    found = invocables(built, read_env_vars(EVENTS / "local-env.json"), {"Architecture": HERE})
    return {name: function.told(AWS_ENDPOINT_URL=world.cloud.endpoint) for name, function in found.items()}


def test_the_environment_for_sam_local_names_the_lab_and_only_what_functions_know(built: Build) -> None:
    values = read_env_vars(EVENTS / "local-env.json")
    assert values["Parameters"]["AWS_ENDPOINT_URL"] == f"http://127.0.0.1:{PORT}"
    functions = invocables(built, {})
    assert values.keys() - {"Parameters"} <= functions.keys()
    declared = set().union(*(function.environment for function in functions.values()))
    assert {name for given in values.values() for name in given} <= declared


@pytest.mark.parametrize("row", [row for row in ROWS if "create" not in row.sample and "update" not in row.sample and
                                 "delete" not in row.sample], ids=lambda row: row.sample)  # fmt: skip
def test_sam_local_gets_the_same_answer(
    row: Row, local: dict[str, Invocable], place: Place, world: World, running: Callable[[str], Emulator]
) -> None:
    with world.connect() as connection:
        stage.nobody(connection)
    assert missing(row.answers["nobody"], running(row.function).invoke(sample(row.sample))) == []


@pytest.fixture(scope="module")
def running(local: dict[str, Invocable], place: Place) -> Any:
    started: dict[str, Emulator] = {}

    def get(function: str) -> Emulator:
        if function not in started:
            log = place.log.with_name(f"{function}.local.log")
            started[function] = Emulator(place.python, place.opt, local[function], log)
        return started[function]

    yield get
    for emulator in started.values():
        emulator.close()


def test_the_documented_commands_name_functions_and_samples_that_exist(built: Build) -> None:
    pages = [EVENTS / "README.md", ROOT / "README.md", ROOT / "docs/debugging.md"]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    commands = re.findall(r"sam local invoke (\w+) -e events/(\w+\.json)", text)
    assert {function for function, _ in commands} >= built.of_type("Function").keys()
    assert {sample for _, sample in commands} <= {row.sample for row in ROWS}
    assert all(any((row.function, row.sample) == command for row in ROWS) for command in commands)
