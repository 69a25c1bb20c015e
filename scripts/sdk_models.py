"""Writes layers/dependencies/models: what the SDK has to know of the services whose descriptions are large.

The SDK's own description of EC2 is ten megabytes of JSON, which every cold start of `reconcile` would parse for one
call. AWS_DATA_PATH (template.yaml) puts this folder before the SDK's; whatever is not here is still found there. Run it
again when the SDK was brought up to date: a test compares.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from botocore.loaders import Loader

OPERATIONS = {
    ("ec2", "2016-11-15"): ("DescribeInstances",),
    ("ssm", "2014-11-06"): ("PutParameter",),
}
TARGET = Path(__file__).parents[1] / "layers/dependencies/models"
Json = dict[str, Any]


def models() -> dict[Path, str]:
    """Text by file: metadata, the operations, and every shape that they can reach; no documentation."""
    loader = Loader(include_default_search_paths=True)
    found = {}
    for (service, version), operations in OPERATIONS.items():
        whole = loader.load_service_model(service, "service-2", api_version=version)
        text = json.dumps(reduced(whole, operations), separators=(",", ":"))
        found[TARGET / service / version / "service-2.json"] = f"{text}\n"
    return found


def reduced(whole: Json, names: tuple[str, ...]) -> Json:
    operations = {name: plain(whole["operations"][name]) for name in names}
    shapes: Json = {}
    waiting = [name for operation in operations.values() for name in references(operation)]
    while waiting:
        name = waiting.pop()
        if name not in shapes:
            shapes[name] = plain(whole["shapes"][name])
            waiting += references(shapes[name])
    kept = {key: whole[key] for key in ("version", "metadata")}
    return {**kept, "operations": operations, "shapes": dict(sorted(shapes.items()))}


def plain(node: Any) -> Any:
    """Without documentation."""
    if isinstance(node, dict):
        return {
            key: plain(value) for key, value in node.items() if key != "documentation" or not isinstance(value, str)
        }
    return [plain(item) for item in node] if isinstance(node, list) else node


def references(node: Any) -> Iterator[str]:
    """Names of the shapes that a node speaks of."""
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    elif isinstance(node, dict):
        if isinstance(node.get("shape"), str):
            yield node["shape"]
        for value in node.values():
            yield from references(value)


def main() -> int:
    for path, text in models().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
