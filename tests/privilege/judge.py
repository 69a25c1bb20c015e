"""Recorded calls against the policies of the rendered templates, for any run."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from pathlib import Path

from lab.cloud.journal import read
from lab.iam.policies import Request, allowed
from lab.iam.requests import calls
from lab.iam.roles import Stacks, read_roles, role_of, wearers
from lab.render import PSEUDO_PARAMETERS, render
from tests.template.resolve import resolve_stacks

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = PSEUDO_PARAMETERS["AWS::AccountId"]
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
    wearing = wearers(resolved())
    found: dict[str, list[Request]] = defaultdict(list)
    for call in calls(read(journal), ACCOUNT):
        found[role_of(call.caller, wearing)].append(call.request)
    return dict(found)


def refused(journal: Path) -> list[tuple[str, Request]]:
    """(role, request) of every recorded call that AWS would have refused."""
    roles = read_roles(resolved())
    return [(who, r) for who, requests in asked(journal).items() for r in requests if not allowed(roles[who].rules, r)]
