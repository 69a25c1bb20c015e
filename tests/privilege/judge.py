"""The application's templates as a staging has them, for judging what a run called."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from lab.cloud.journal import read
from lab.cloud.names import ACCOUNT
from lab.iam import judge
from lab.iam.policies import Request
from lab.iam.resolve import resolve_stacks
from lab.iam.roles import Stacks
from lab.render import render

__all__ = ["ACCOUNT", "ROOT", "asked", "refused", "resolved"]

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = {
    "Stage": "staging",
    "ApiBaseUrl": "https://api.example.com",
}


@cache
def resolved() -> Stacks:
    """Every resource of a staging, as plain values."""
    return resolve_stacks(render(ROOT / "template.yaml", PARAMETERS), PARAMETERS)


def asked(journal: Path) -> dict[str, list[Request]]:
    """What each role asked for in a run. Raises UnknownCallError naming an operation that nobody has looked up."""
    return judge.asked(read(journal), resolved())


def refused(journal: Path) -> list[tuple[str, Request]]:
    """(role, request) of every recorded call that AWS would have refused."""
    return judge.refused(read(journal), resolved())
