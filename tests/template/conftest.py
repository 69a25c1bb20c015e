"""The application rendered and resolved once, with the parameters of a small staging."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lab.iam.resolve import resolve_stacks
from lab.render import Template, render

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = {
    "Stage": "staging",
    "ApiBaseUrl": "https://api.example.com",
}


@cache
def resolved(**changes: str) -> dict[str, Template]:
    """Resources by stack ("" is the root), with these parameters changed. Not to be written to: it is made once."""
    parameters = PARAMETERS | changes
    return resolve_stacks(render(ROOT / "template.yaml", parameters), parameters)


@pytest.fixture(scope="session")
def stacks() -> dict[str, Template]:
    return resolved()


CONTROL_PLANE = ("", "Signals", "AmiRollout")


@pytest.fixture(scope="session")
def root(stacks: dict[str, Template]) -> Template:
    """The control plane: of the application itself and of the stacks that it is divided into."""
    return control_plane(stacks)


def control_plane(stacks: dict[str, Template]) -> Template:
    return {name: resource for stack in CONTROL_PLANE for name, resource in stacks[stack].items()}


def properties_of(resources: Template, kind: str) -> dict[str, dict[str, Any]]:
    """Properties of every resource of a type, by logical id."""
    return {name: r["Properties"] for name, r in resources.items() if r["Type"] == kind}
