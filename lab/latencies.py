"""How soon the control plane answered: bursts by a raise, losses by the job being leasable again. Pure."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from lab.measures import Entry, Evidence, accepted

BACKLOG_TARGET = 2
"""Jobs per instance where the group does not say."""

SAMPLE_AGE = 0.5
"""Seconds by which what a sample saw may be older than its time, at most."""


@dataclass(frozen=True)
class Asked:
    """A burst of so many jobs, from its first commit `t` to its `last`."""

    name: str
    workflow: str
    t: float
    last: float
    jobs: int
    nudged: bool


def request_latencies(evidence: Evidence, *, nudged: bool) -> dict[str, float]:
    """Burst → seconds from its first commit to the first raise accepted for its fleet from then on.

    An unanswered one counts with its age when it asked no more, because what was left of the backlog fitted into the
    desired capacity; or at the end of the run. Not in it are bursts that fit from the beginning, unless capacity was
    raised all the same before the next burst. A single job is no burst.
    """
    asked, raised = _bursts(evidence), raises(evidence)
    end = max((entry["t"] for entry in evidence.journal), default=0.0)
    latencies: dict[str, float] = {}
    for burst in asked:
        mine = (t for t, group in raised if group.endswith(f"-{burst.workflow}") and t >= burst.t)
        answer = next(mine, math.inf)
        if burst.jobs == 1 or burst.nudged is not nudged:
            continue
        if _needs_raise(evidence, burst):
            latencies[burst.name] = round(min(answer, _served(evidence, burst), end) - burst.t, 3)
        elif answer < _next(asked, burst):
            latencies[burst.name] = round(answer - burst.t, 3)
    return latencies


def _bursts(evidence: Evidence) -> list[Asked]:
    committed = [job for job in evidence.of("job") if job["event"] == "committed"]
    sizes = Counter(job["burst"] for job in committed)
    last = {job["burst"]: job["t"] for job in committed}
    first: dict[str, Entry] = {}
    for job in committed:
        first.setdefault(job["burst"], job)
    return [
        Asked(name, job["workflow"], job["t"], last[name], sizes[name], nudged=bool(job["nudged"]))
        for name, job in first.items()
    ]


def _next(asked: Iterable[Asked], burst: Asked) -> float:
    later = (other.t for other in asked if other.workflow == burst.workflow and other.t > burst.t)
    return min(later, default=math.inf)


def _needs_raise(evidence: Evidence, burst: Asked) -> bool:
    """Whether what waits and works, with the burst, is more than the desired capacity of its fleet is there for."""
    for group, fleet in evidence.fleets.items():
        if group.endswith(f"-{burst.workflow}"):
            desired, jobs = _before(evidence, group, burst.t)
            return bool(desired < fleet["max"] and jobs + burst.jobs > _target(fleet) * desired)
    return False


def _served(evidence: Evidence, burst: Asked) -> float:
    """When the backlog was first seen to fit into the desired capacity after the burst."""
    for sample in evidence.samples:
        for group, fleet in sample["fleets"].items():
            after = group.endswith(f"-{burst.workflow}") and sample["t"] > burst.last + SAMPLE_AGE
            target = _target(evidence.fleets.get(group, {}))
            if after and fleet.get("queued", 0) + fleet.get("leased", 0) <= target * fleet["desired"]:
                return float(sample["t"])
    return math.inf


def _target(fleet: Entry) -> int:
    return int(fleet.get("target", BACKLOG_TARGET))


def _before(evidence: Evidence, group: str, t: float) -> tuple[int, int]:
    """(desired, jobs queued or leased) of a fleet just before a moment."""
    asked = [(at, desired) for at, name, desired in accepted(evidence) if name == group and at < t]
    desired = _desired_before(evidence, group, t, asked[-1] if asked else (0.0, 0))
    seen = [sample["fleets"][group] for sample in evidence.samples if sample["t"] < t and group in sample["fleets"]]
    return desired, seen[-1].get("queued", 0) + seen[-1].get("leased", 0) if seen else 0


def raises(evidence: Evidence) -> list[tuple[float, str]]:
    """(time, group) of each request accepted that wanted more than there was."""
    last: dict[str, tuple[float, int]] = {}
    found = []
    for t, group, desired in accepted(evidence):
        if desired > _desired_before(evidence, group, t, last.get(group, (0.0, 0))):
            found.append((t, group))
        last[group] = (t, desired)
    return found


def _desired_before(evidence: Evidence, group: str, t: float, last: tuple[float, int]) -> int:
    """The last request, or what a later sample saw: terminations with decrement lower desired too."""
    asked_at, asked = last
    for sample in reversed(evidence.samples):
        if asked_at < sample["t"] < t and group in sample["fleets"]:
            return int(sample["fleets"][group]["desired"])
    return asked


def requeue_latencies(evidence: Evidence, cause: str) -> list[float]:
    """Seconds from the loss (`warned` or `terminating`) to the job being leasable again, as the sampler saw it.

    A warned worker whose jobs were given time to finish (`finishing` in its drain) is not in it: they were not waiting.
    """
    spared = {row["worker_identifier"] for row in evidence.audits if (row.get("metadata") or {}).get("finishing")}
    requeued = {row["worker_identifier"] for row in evidence.audits if row["event"] == "requeued"}
    return [r["seconds"] for r in evidence.releases if r["cause"] == cause and r["instance"] in requeued - spared]
