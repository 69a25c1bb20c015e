"""Cold start of every built function, as a ratio to a handler that only imports boto3 and creates one client.

The laboratory builds for this machine and runs what was built under the real runtime client; seconds of this machine
say little about Lambda's, the ratio does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from lab.artifacts import HERE, NoPython313Error, build
from lab.cold_start import cold_starts

RUNS = 3


@dataclass(frozen=True)
class ColdStarts:
    """By function's folder name. Both are empty where there is no Python of Lambda's, and then `absent` says so."""

    ratios: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    absent: str = ""


def measure(directory: Path) -> ColdStarts:
    """`directory` is for the build and what is run of it. Raises RuntimeError when a build or a function fails."""
    try:
        found = cold_starts(build(HERE, directory / "build"), directory, RUNS)
    except NoPython313Error as error:  # every other figure stands without this one
        return ColdStarts(absent=str(error))
    seconds = {"baseline": round(found.pop("bare"), 3)}
    seconds |= {_folder(name): round(one["seconds"], 3) for name, one in found.items()}
    return ColdStarts({_folder(name): round(one["ratio"], 2) for name, one in found.items()}, seconds)


def _folder(logical_id: str) -> str:
    """publish_metrics of PublishMetricsFunction."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", logical_id.removesuffix("Function")).lower()
