"""Cold start of built functions: seconds of init and first answer under the runtime client, beside a bare handler's.

`python -m lab.cold_start` builds for this machine, brings up a world and prints the table.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lab.artifacts import HERE, ROOT, Build, build, lambda_python
from lab.cloud.names import ACCOUNT, REGION
from lab.emulator import Emulator
from lab.sam_local import Invocable, invocables
from lab.world import World

AIM = 1.6
MACHINE = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:bp-staging-"
UNRESOLVED = {
    "SCALE_IN_MACHINE_ARN": f"{MACHINE}scale-in",
    "AMI_ROLLOUT_MACHINE_ARN": f"{MACHINE}ami-rollout",
    "DEAD_LETTERS_URL": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/bp-staging-failed-invocations",
}
"""What the SAM CLI does not make of the template by itself."""
BARE = """\
import boto3

client = boto3.client("secretsmanager")


def handler(event, context):
    return None
"""
FIRST = {
    "ReconcileFunction": "reconcile_tick",
    "PublishMetricsFunction": "publish_metrics_schedule",
    "ScaleToZeroFunction": "scale_to_zero_queue_empty",
    "ScaleInFunction": "scale_in_look",
    "SpotInterruptionFunction": "spot_interruption_warning",
    "TenantPoolInitFunction": "tenant_pool_init_create",
    "FleetSecretInitFunction": "fleet_secret_init_create",
    "AmiParameterInitFunction": "ami_parameter_init_create",
    "AmiRolloutFunction": "ami_rollout_survey",
}
"""The sample that each function is woken with. A custom resource's is called by hand: nobody waits at its URL."""

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """Where functions run: an interpreter like Lambda's, and the layers unpacked."""

    python: Path
    opt: Path
    log: Path


def measure(place: Place, function: Invocable, event: Event) -> float:
    """Wall seconds from the invocation that starts the environment to its answer. Raises RuntimeError on a failure."""
    with Emulator(place.python, place.opt, function, place.log) as emulator:
        began = time.perf_counter()
        answer = emulator.invoke(event)
        seconds = time.perf_counter() - began
    if isinstance(answer, dict) and "errorType" in answer:
        raise RuntimeError(f"{function.logical_id}: {answer['errorType']}: {answer.get('errorMessage')}")
    return seconds


def bare(folder: Path) -> Invocable:
    """The handler that every ratio is taken to: it imports boto3 and creates one client."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "app.py").write_text(BARE, encoding="utf-8")
    keys = {"AWS_DEFAULT_REGION": REGION, "AWS_ACCESS_KEY_ID": "lab", "AWS_SECRET_ACCESS_KEY": "lab"}
    return Invocable("Bare", "bare", folder.resolve(), (), "app.handler", keys)


def ratios(
    place: Place, functions: Mapping[str, Invocable], event: Callable[[str], Event], runs: int
) -> dict[str, Any]:
    """Per logical id `seconds` and `ratio`, and `bare` with the bare handler's seconds.

    All are the best of `runs`, taken in turns, so that what else the machine does falls on all alike.
    """
    plain = bare(place.opt.parent / "bare")
    seconds: dict[str, list[float]] = {"bare": []}
    for _ in range(runs):
        seconds["bare"].append(measure(place, plain, {}))
        for name, function in functions.items():
            seconds.setdefault(name, []).append(measure(place, function, event(name)))
    best = {name: min(values) for name, values in seconds.items()}
    figures = {name: {"seconds": best[name], "ratio": best[name] / best["bare"]} for name in functions}
    return {"bare": best["bare"], **figures}


def first_event(name: str) -> Event:
    """The sample of that function, without the signed URL of a custom resource."""
    event: dict[str, Any] = json.loads((ROOT / f"events/{FIRST[name]}.json").read_text(encoding="utf-8"))
    event.pop("ResponseURL", None)
    return event


def as_on_lambda(function: Invocable) -> Invocable:
    """Without the variable by which Powertools knows `sam local`, and switches tracing off."""
    kept = {key: value for key, value in function.environment.items() if key != "AWS_SAM_LOCAL"}
    return replace(function, environment=kept)


def cold_starts(built: Build, run_dir: Path, runs: int = 5) -> dict[str, Any]:
    """The figures of `ratios` for every function of a build for this machine, against a world in `run_dir`."""
    with World(run_dir / "world") as world:
        overrides = {"Parameters": UNRESOLVED}
        here = {"AWS_ENDPOINT_URL": world.cloud.endpoint, "DB_CA_FILE": str(world.database.ca_file)}
        functions = {name: as_on_lambda(f).told(**here) for name, f in invocables(built, overrides).items()}
        layers = next(iter(functions.values())).layers
        place = Place(lambda_python(ROOT / "build/lambda-python"), built.opt(layers, run_dir / "opt"), run_dir / "log")
        return ratios(place, functions, first_event, runs)


@contextmanager
def temporary() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=ROOT / "build", prefix="cold-start-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def main() -> int:
    (ROOT / "build").mkdir(exist_ok=True)
    with temporary() as folder:
        figures = cold_starts(build(HERE, folder / "build"), folder)
    print(f"bare handler: {figures.pop('bare'):.3f} s")
    for name, figure in figures.items():
        print(f"{name:<28}{figure['seconds']:.3f} s  ratio {figure['ratio']:.2f}")
    return 0 if all(figure["ratio"] <= AIM for figure in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
