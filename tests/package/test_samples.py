"""Built functions answer every sample event as events/README.md says: `sam build`, the real client, MariaDB, AWS."""

import re
import threading
import tomllib
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from lab.artifacts import HERE, ROOT, Build
from lab.cloud.custom import ResponseDesk
from lab.cold_start import UNRESOLVED, Place
from lab.emulator import Emulator
from lab.sam_local import Invocable, invocables, read_env_vars
from lab.standalone import write
from lab.stay import PORT
from lab.world import World

from . import stage
from .conftest import Environments, sample
from .table import EVENTS, Row, missing, rows

ROWS = rows()
SITUATIONS = {"nobody": stage.nobody, "at_work": stage.at_work}
EXPIRED = "AnswerNotSent"
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
    functions = built.of_type("Function") | built.nested("Function")
    imported = set().union(*(noted(environments.log(function)) for function in functions))
    shipped = set().union(*(modules(built.folder / layer / "python") for layer in SHIPPED))
    assert len(shipped) > 200
    reasons = tomllib.loads((Path(__file__).parent / "unimported.toml").read_text(encoding="utf-8"))
    idle = shipped - imported
    assert {name for name in idle if not set(with_parents(name)) & reasons.keys()} == set()
    assert reasons.keys() - {parent for name in idle for parent in with_parents(name)} == set(), "out of date"


def noted(log: Path) -> set[str]:
    """Modules that the interpreter said it imports (PYTHONVERBOSE), by a statement or by a call."""
    pattern = re.compile(r"^import '([\w.]+)' #", re.MULTILINE)
    return set(pattern.findall(log.read_text(encoding="utf-8", errors="replace")))


def modules(root: Path) -> set[str]:
    """Of our own package only the bytecode is shipped, of the others a source or a binary beside it."""
    files = [path.relative_to(root) for path in root.rglob("*") if path.suffix in (".py", ".pyc", ".so")]
    dotted = [
        ".".join((*path.parts[:-1], path.name.split(".")[0])) for path in files if "__pycache__" not in path.parts
    ]
    return {name.removesuffix(".__init__") for name in dotted}


def with_parents(name: str) -> list[str]:
    """a.b.c, a.b, a"""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(len(parts), 0, -1)]


@pytest.fixture(scope="module")
def local(built: Build, world: World) -> dict[str, Invocable]:
    """What `sam local invoke --env-vars events/local-env.json` would run, but for the port of the endpoint. A nested
    stack's function is invoked by a template of its own."""
    given, parameters = read_env_vars(EVENTS / "local-env.json"), {"Architecture": HERE}
    found = invocables(built, given, parameters)
    for name in built.nested("Function"):
        found |= invocables(built, given, parameters, write(built, name).name)
    return {name: function.told(AWS_ENDPOINT_URL=world.cloud.endpoint) for name, function in found.items()}


def test_sam_local_finds_code_layers_and_settings_of_every_function(built: Build, local: dict[str, Invocable]) -> None:
    whole = invocables(built, {"Parameters": UNRESOLVED}, {"Architecture": HERE})
    assert local.keys() == whole.keys()
    for name, function in local.items():
        assert (function.code, function.layers) == (whole[name].code, whole[name].layers)
        assert len(function.layers) == len(SHIPPED)
        assert function.environment.keys() == whole[name].environment.keys()


def test_the_environment_for_sam_local_names_the_lab_and_only_what_functions_know(built: Build) -> None:
    values = read_env_vars(EVENTS / "local-env.json")
    assert values["Parameters"]["AWS_ENDPOINT_URL"] == f"http://127.0.0.1:{PORT}"
    functions = invocables(built, {})
    assert values.keys() - {"Parameters"} <= functions.keys()
    declared = set().union(*(function.environment for function in functions.values()))
    assert {name for given in values.values() for name in given} <= declared


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.sample)
def test_sam_local_gets_the_same_answer(
    row: Row, world: World, running: Callable[[str], Emulator], desk: ResponseDesk
) -> None:
    with world.connect() as connection:
        stage.nobody(connection)
    event, request = addressed(sample(row.sample), desk)
    assert missing(row.answers["nobody"], running(row.function).invoke(event)) == []
    if request:
        assert (desk.wait(request, 5) or {}).get("Status") == "SUCCESS"


@pytest.fixture(scope="module")
def expired() -> Iterator[str]:
    """An address that is refused like a signed one after its time."""

    class Refusing(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.send_error(403)

        def log_message(self, *args: Any) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def pool_made(world: World) -> bool:
    with world.connect() as connection, connection.cursor() as cursor:
        return bool(cursor.execute("SHOW DATABASES LIKE %s", (r"tenant\_pool\_3",)))


def secret_made(world: World) -> bool:
    found = world.cloud.client("ssm").get_parameters(Names=["/bp/staging/fleet-secret"])["Parameters"]
    return [parameter["Type"] for parameter in found] == ["SecureString"]


@pytest.mark.parametrize(
    ("name", "made"), [("tenant_pool_init_update.json", pool_made), ("fleet_secret_init_create.json", secret_made)]
)
def test_sam_local_with_an_expired_address_does_the_work_and_says_that_nobody_heard(
    name: str, made: Callable[[World], bool], world: World, running: Callable[[str], Emulator], expired: str
) -> None:
    [function] = [row.function for row in ROWS if row.sample == name]
    world.cloud.client("ssm").delete_parameters(Names=["/bp/staging/fleet-secret"])
    with world.connect() as connection, connection.cursor() as cursor:
        cursor.execute("DROP DATABASE IF EXISTS tenant_pool_3")
    assert not made(world)
    answer = running(function).invoke(sample(name) | {"ResponseURL": expired})
    assert answer["errorType"] == EXPIRED
    assert made(world)


def test_both_pages_say_which_samples_end_so_under_sam_local() -> None:
    signed = {row.sample for row in ROWS if "ResponseURL" in sample(row.sample)}
    for page in (EVENTS / "README.md", ROOT / "docs/debugging.md"):
        [told] = [text for text in page.read_text(encoding="utf-8").split("\n\n") if EXPIRED in text]
        assert set(re.findall(r"`(\w+\.json)`", told)) >= signed


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
    commands = re.findall(r"sam local invoke (\w+)(?: -t \"[^\"]+\" \\\n +)? ?-e events/(\w+\.json)", text)
    assert {function for function, _ in commands} >= built.of_type("Function").keys() | built.nested("Function").keys()
    assert {sample for _, sample in commands} <= {row.sample for row in ROWS}
    assert all(any((row.function, row.sample) == command for row in ROWS) for command in commands)
