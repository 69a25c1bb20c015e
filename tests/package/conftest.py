"""What `sam build` makes for each architecture, run as Lambda runs it, beside a world with nobody in it."""

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lab.artifacts import HERE, ROOT, Build, NoPython313Error, build, lambda_python, python313
from lab.cloud.custom import ResponseDesk, response_desk
from lab.cloud.names import ACCOUNT
from lab.cold_start import UNRESOLVED, Place, as_on_lambda
from lab.door import open_door
from lab.emulator import Emulator
from lab.sam_local import Invocable, invocables
from lab.world import World

EVENTS = ROOT / "events"
KEPT = ROOT / "build/package"
SPOT, ROLLOUT = "SpotInterruptionFunction", "AmiRolloutFunction"
SOURCES = ("template.yaml", "samconfig.toml", "functions", "layers", "stacks", "statemachines")
Answer = Callable[[str, dict[str, Any]], Any]


def sample(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / name).read_text(encoding="utf-8"))
    return event


def digest() -> str:
    """Of everything that a build reads."""
    found = hashlib.sha256()
    for source in SOURCES:
        paths = [ROOT / source] if (ROOT / source).is_file() else sorted((ROOT / source).rglob("*"))
        for path in paths:
            if path.is_file() and "__pycache__" not in path.parts:
                found.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return found.hexdigest()


def build_once(architecture: str) -> Build:
    """Shared by the processes that run the tests, and built again only when a source has changed."""
    folder = KEPT / architecture
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp, wanted = folder / "sources", digest()
        if not stamp.exists() or stamp.read_text() != wanted:
            stamp.unlink(missing_ok=True)
            build(architecture, folder / "build")
            stamp.write_text(wanted)
    return Build(folder / "build")


@pytest.fixture(scope="session")
def builds() -> Callable[[str], Build]:
    try:
        python313()
    except NoPython313Error as error:
        pytest.skip(str(error))
    return cache(build_once)


@pytest.fixture(scope="session")
def built(builds: Callable[[str], Build]) -> Build:
    """For the machine that runs the tests."""
    return builds(HERE)


@pytest.fixture(scope="session")
def place(built: Build, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Lambda's Python, and the layers as they lie in /opt."""
    folder = tmp_path_factory.mktemp("place")
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        python = lambda_python(KEPT / "python")
    layers = next(iter(invocables(built, {}).values())).layers
    return Place(python, built.opt(layers, folder / "opt"), folder / "log")


@pytest.fixture(scope="package")  # only one cloud may be open in a process: not beyond these tests
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Deployed, with a door for `sam local`; time stands still: no schedule fires."""
    with World(tmp_path_factory.mktemp("world")) as opened:
        open_door(opened)
        yield opened


@pytest.fixture(scope="package")
def as_lambda(built: Build, world: World) -> dict[str, Invocable]:
    """Functions with the template's environment: verified TLS to the world's database, tracing on.

    A notice, and a new image, start a machine that only waits: the template's would look at the stage of later samples.
    """
    overrides = {"Parameters": UNRESOLVED}
    here = {"AWS_ENDPOINT_URL": world.cloud.endpoint, "DB_CA_FILE": str(world.database.ca_file)}
    found = {name: as_on_lambda(f).told(**here) for name, f in invocables(built, overrides).items()}
    waits = waiting_machine(world)
    spot, rollout = (
        found[SPOT].told(SPOT_INTERRUPTION_MACHINE_ARN=waits),
        found[ROLLOUT].told(AMI_ROLLOUT_MACHINE_ARN=waits),
    )
    return found | {SPOT: spot, ROLLOUT: rollout}


def waiting_machine(world: World) -> str:
    definition = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}}}
    machines = world.cloud.client("stepfunctions")
    created = machines.create_state_machine(
        name="only-waits", definition=json.dumps(definition), roleArn=f"arn:aws:iam::{ACCOUNT}:role/only-waits"
    )
    return str(created["stateMachineArn"])


@pytest.fixture(scope="session")
def desk() -> Iterator[ResponseDesk]:
    with response_desk() as opened:
        yield opened


class Environments:
    """One warm environment for each function; every import is noted in the log."""

    def __init__(self, place: Place, functions: dict[str, Invocable]) -> None:
        self._place, self._functions = place, functions
        self._running: dict[str, Emulator] = {}

    def answer(self, function: str, event: dict[str, Any]) -> Any:
        if function not in self._running:
            place, noted = self._place, self._functions[function].told(PYTHONVERBOSE="1")
            self._running[function] = Emulator(place.python, place.opt, noted, self.log(function))
        return self._running[function].invoke(event)

    def log(self, function: str) -> Path:
        return self._place.log.with_name(f"{function}.log")

    def close(self) -> None:
        for emulator in self._running.values():
            emulator.close()


@pytest.fixture(scope="package")
def environments(place: Place, as_lambda: dict[str, Invocable]) -> Iterator[Environments]:
    opened = Environments(place, as_lambda)
    yield opened
    opened.close()
