"""The Packer templates, parsed, and what is asked of them here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2

ROOT = Path(__file__).resolve().parents[2]
PACKER = ROOT / "packer"
Block = dict[str, Any]
VERSION = re.compile(r'^([A-Z][A-Z0-9_]*)=(?:"([^"$`\\]*)"|([^\s"$`\\]+))$')


def parsed() -> dict[str, list[Block]]:
    """Top-level blocks of all files, by kind; strings keep the quotes of their source."""
    blocks: dict[str, list[Block]] = {}
    for path in sorted(PACKER.glob("*.pkr.hcl")):
        with path.open() as file:
            for kind, found in hcl2.load(file).items():
                blocks.setdefault(kind, []).extend(found if isinstance(found, list) else [])
    return blocks


def variables() -> set[str]:
    return {name.strip('"') for block in parsed()["variable"] for name in block if not name.startswith("__")}


def source() -> Block:
    [block] = parsed()["source"]
    found: Block = block['"amazon-ebs"']['"worker"']
    return found


def strings(value: Any) -> Iterator[str]:
    """Every string of a parsed value, without the quotes around it."""
    if isinstance(value, dict):
        for below in value.values():
            yield from strings(below)
    elif isinstance(value, list):
        for below in value:
            yield from strings(below)
    elif isinstance(value, str):
        yield (
            json.loads(value)
            if value.startswith('"') and value.endswith('"') and "${" not in value
            else value.strip('"')
        )


def provisioners() -> list[tuple[str, Block]]:
    """(kind, block) in the order in which they run."""
    [build] = parsed()["build"]
    return [(kind.strip('"'), block) for entry in build["provisioner"] for kind, block in entry.items()]


def versions() -> dict[str, str]:
    """versions.sh as the HCL reads it. Raises ValueError at a line that it would read otherwise than a shell does."""
    found = {}
    for line in (PACKER / "versions.sh").read_text().splitlines():
        if line and not line.startswith("#"):
            match = VERSION.match(line)
            if match is None:
                raise ValueError(f"versions.sh: {line}")
            found[match[1]] = match[2] if match[2] is not None else match[3]
    return found
