"""The calls of a run against the policies of the templates that it deployed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from lab.cloud.names import ACCOUNT
from lab.iam.policies import Request, UnsupportedPolicyError, allowed
from lab.iam.requests import Entry, UnknownCallError, calls
from lab.iam.roles import Stacks, read_roles, role_of, wearers


@dataclass(frozen=True)
class Verdict:
    """`judged` calls, and one sentence for each thing that AWS would have refused or that nobody can judge."""

    judged: int
    refused: tuple[str, ...]


def asked(journal: Iterable[Entry], stacks: Stacks) -> dict[str, list[Request]]:
    """What each role asked for. Raises UnknownCallError for an operation without an entry, KeyError for a stranger."""
    wearing = wearers(stacks)
    found: dict[str, list[Request]] = defaultdict(list)
    for call in calls(journal, ACCOUNT):
        found[role_of(call.caller, wearing)].append(call.request)
    return dict(found)


def refused(journal: Iterable[Entry], stacks: Stacks) -> list[tuple[str, Request]]:
    """(role, request) of every recorded call that AWS would have refused. Raises as `asked` does."""
    roles = read_roles(stacks)
    made = asked(journal, stacks).items()
    return [(who, r) for who, requests in made for r in requests if not allowed(roles[who].rules, r)]


def judge(journal: Iterable[Entry], stacks: Stacks) -> Verdict:
    """For the end of a run: what cannot be judged counts as refused."""
    entries = list(journal)
    try:
        judged = sum(map(len, asked(entries, stacks).values()))
        times = Counter(_sentence(who, request) for who, request in refused(entries, stacks))
    except (UnknownCallError, UnsupportedPolicyError, KeyError) as error:
        return Verdict(0, (f"AWS calls cannot be judged: {type(error).__name__} {error}",))
    if not judged:
        return Verdict(0, ("AWS calls cannot be judged: none was recorded",))
    return Verdict(judged, tuple(f"{sentence} ({count} times)" for sentence, count in times.items()))


def _sentence(who: str, request: Request) -> str:
    context = "".join(f", {key} = {value}" for key, value in request.context.items())
    return f"no policy of {who} allows {request.action} on {', '.join(request.resources)}{context}"
