"""`make validate`: the parameters of every stage in samconfig.toml, before a deployment finds out."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from lab.cloud.names import REGION
from lab.constraints import faults

ROOT = Path(__file__).parent.parent


def stages(config: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Name, region and parameters of each environment that is deployed."""
    for name, commands in config.items():
        if isinstance(commands, dict) and "deploy" in commands:
            pairs = commands["deploy"]["parameters"].get("parameter_overrides", [])
            yield name, commands["global"]["parameters"]["region"], dict(pair.split("=", 1) for pair in pairs)


def main(folder: Path = ROOT) -> int:
    """Prints each fault; gives the exit status."""
    config = tomllib.loads((folder / "samconfig.toml").read_text(encoding="utf-8"))
    status = 0
    for name, region, parameters in stages(config):
        found = faults(folder / "template.yaml", parameters, region)
        print(f"{name}: " + ("; ".join(found) if found else "its parameters are good"))
        status |= bool(found)
    return status


if __name__ == "__main__":
    with patch.dict(os.environ, {"AWS_DEFAULT_REGION": REGION}):
        sys.exit(main())
