"""What launches cost and what silence did, computed after the fact. Pure; times are unix seconds."""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from datetime import UTC

from lab.measures import Entry, Evidence

FREE_LAUNCHES = 4
"""Of a broken image, before anything has to be noticed."""
PROBE_SHARE = 0.75
"""Of the time between two probes that must have passed: launches are seen a little after they were asked for."""
LOST = frozenset({"zombie", "worker_lost"})
"""Reasons of the audit log that say: this worker does not answer."""
OVERDUE = "-overdue-"
"""In the name of an execution that takes out an instance which has not registered, after the instance's id."""


def launches(evidence: Evidence) -> dict[str, list[int]]:
    """Group → instances launched in each act, in order; a run without acts is one."""
    begins = [act["t"] for act in evidence.of("act")]
    counts: dict[str, list[int]] = {name: [0] * max(1, len(begins)) for name in evidence.fleets}
    for entry in _launched(evidence):
        act = max(0, bisect_right(begins, entry["t"]) - 1)
        counts.setdefault(entry["group"], [0] * max(1, len(begins)))[act] += 1
    return counts


def _launched(evidence: Evidence) -> list[Entry]:
    return [entry for entry in evidence.of("instance") if entry["state"] == "pending"]


def above_budget(evidence: Evidence) -> list[str]:
    """Fleets that launched more in an act than the act allows."""
    allowed = [act.get("most_launches", math.inf) for act in evidence.of("act")] or [math.inf]
    return sorted(
        f"{group} launched {count}, {most} at most"
        for group, counts in launches(evidence).items()
        for count, most in zip(counts, allowed, strict=True)
        if count > most
    )


def broken_launches(evidence: Evidence) -> dict[str, list[float]]:
    """Group → seconds from the shipping of a broken image to each launch, until one registers after it was mended."""
    found: dict[str, list[float]] = {}
    for shipped in evidence.of("image"):
        if shipped["state"] == "broken":
            group = shipped["group"]
            end = _recovered(evidence, group, _mended(evidence, shipped))
            times = [e["t"] for e in _launched(evidence) if e["group"] == group and shipped["t"] <= e["t"] < end]
            found[group] = [round(t - shipped["t"], 2) for t in times]
    return found


def _mended(evidence: Evidence, shipped: Entry) -> float:
    later = (e["t"] for e in evidence.of("image") if e["group"] == shipped["group"] and e["t"] > shipped["t"])
    return float(next(later, math.inf))


def _recovered(evidence: Evidence, group: str, mended: float) -> float:
    """The launch of the first instance that registered after the image was mended."""
    registered = {row["worker_identifier"] for row in evidence.audits if row["event"] == "registered"}
    good = (e["t"] for e in _launched(evidence) if e["group"] == group and e["t"] >= mended and e["id"] in registered)
    return float(next(good, math.inf))


def held_back(evidence: Evidence) -> set[str]:
    """Bursts that met a broken image: what they ask for waits for a probe."""
    troubles = [(e["group"], e["t"], _recovered(evidence, e["group"], _mended(evidence, e)))
                for e in evidence.of("image") if e["state"] == "broken"]  # fmt: skip
    return {
        str(job["burst"])
        for job in evidence.of("job")
        for group, begin, end in troubles
        if str(group).endswith(f"-{job['workflow']}") and begin <= job["t"] < end
    }


def hasty_launches(evidence: Evidence) -> list[str]:
    """Broken launches beyond the first four that came sooner than a probe after the one before."""
    probe = max((float(act["tags"].get("fleet:probe-seconds", 0)) for act in evidence.of("act")), default=0.0)
    return sorted(
        f"{group}: a launch {now - before:.1f} s after the one before"
        for group, times in broken_launches(evidence).items()
        for before, now in zip(times[FREE_LAUNCHES - 1 :], times[FREE_LAUNCHES:], strict=False)
        if now - before < PROBE_SHARE * probe
    )


def replaced_in_silence(evidence: Evidence) -> list[str]:
    """Who was given up while nobody got an answer from the backend: workers for their silence, and instances for not
    having registered. A second look may have released either before anything was lost."""
    given_up = {
        str(row["worker_identifier"])
        for begin, end in _backend_outages(evidence)
        for number, row in enumerate(evidence.audits)
        if begin <= _at(row) <= end and _reason(row) in LOST and not _released(evidence.audits[number:], row)
    }
    return sorted(given_up | _replaced_unregistered(evidence))


def _replaced_unregistered(evidence: Evidence) -> set[str]:
    """By an execution that began during an outage: at its deadline nobody could have registered."""
    begun = {
        str(entry["name"]).partition(OVERDUE)[0]: entry["t"]
        for begin, end in _backend_outages(evidence)
        for entry in reversed(evidence.of("execution"))
        if OVERDUE in str(entry["name"]) and entry["status"] == "RUNNING" and begin <= entry["t"] <= end
    }
    ended = [entry for entry in evidence.of("instance") if entry["state"] == "terminating"]
    return {
        str(entry["id"])
        for entry in ended
        if begun.get(entry["id"], math.inf) <= entry["t"] and "user request" in str(entry["cause"])
    }


def _released(later: Sequence[Entry], row: Entry) -> bool:
    names = (entry["event"] for entry in later if entry["worker_identifier"] == row["worker_identifier"])
    return row["event"] == "fleet_drained" and "fleet_undrained" in names


def _backend_outages(evidence: Evidence) -> list[tuple[float, float]]:
    entries = evidence.of("backend")
    backs = [entry["t"] for entry in entries if entry["state"] == "back"]
    return [
        (entry["t"], next((back for back in backs if back > entry["t"]), math.inf))
        for entry in entries
        if entry["state"] == "away"
    ]


def refused_launches(evidence: Evidence) -> dict[str, int]:
    return dict(Counter(entry["group"] for entry in evidence.of("launch_failed")))


def _at(row: Entry) -> float:
    return float(row["created_at"].replace(tzinfo=UTC).timestamp())


def _reason(row: Entry) -> str:
    return str((row.get("metadata") or {}).get("reason", ""))
