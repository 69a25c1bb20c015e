"""Whether the second act's mishaps were there to be seen, and answered, judged by what the run left behind. Pure."""

import math
from collections.abc import Callable

from lab.launch_measures import broken_launches
from lab.lines import when
from lab.measures import Entry, Evidence, second_of

MARKED_SECONDS = 6.0
"""A warning's worker is drained within: a second on AWS, the machine's repeated looks here."""
SHUT, OPEN = frozenset({"fleet_drained", "deregistered"}), frozenset({"fleet_undrained"})
BACK_SECONDS = 2.5
"""The backend is back before its workers have all been heard of again."""


def dry_market(evidence: Evidence) -> bool:
    """A launch was refused, reconcile said why and since when, and there was an instance once the market opened."""
    return any(_blocked_and_launched(evidence, entry) for entry in evidence.of("market") if entry["state"] == "dry")


def _blocked_and_launched(evidence: Evidence, dry: Entry) -> bool:
    group = dry["group"]
    opened = _next(evidence.of("market"), dry, "open")
    refused = [entry["t"] for entry in evidence.of("launch_failed") if entry["group"] == group]
    said = _said(evidence, group, "capacity blocked")
    launched = [e["t"] for e in evidence.of("instance") if (e["group"], e["state"]) == (group, "pending")]
    told = any(min(refused, default=math.inf) < t for t in said)
    return told and any(t > opened for t in launched)


def pool_replaced(evidence: Evidence) -> bool:
    """Replacements were launched for recommended instances, and none of these lost a job to it before anything else."""
    launched = [e for e in evidence.of("instance") if e["state"] == "pending" and "rebalance" in str(e.get("cause"))]
    taken = [row for row in evidence.audits if _reason(row) == "capacity_rebalance"]
    return bool(launched) and not taken


def zone_marked(evidence: Evidence) -> bool:
    """Each worker that had registered in the zone was drained, or gone by itself, seconds after its warning."""
    warned = any(zone["warned"] for zone in evidence.of("zone"))
    return warned and all(_out_by(evidence, name, t + MARKED_SECONDS) for name, t in _warned_in_zones(evidence).items())


def marked_latencies(evidence: Evidence) -> list[float]:
    """Seconds from the warning of a zone to each of its workers being drained or gone, up to one too few: the
    database cuts off fractions."""
    return [
        max(0.0, second_of(row) - t)
        for name, t in _warned_in_zones(evidence).items()
        for row in [next((r for r in evidence.audits if _shut(r, name) and second_of(r) + 1 > t), None)]
        if row is not None
    ]


def _warned_in_zones(evidence: Evidence) -> dict[str, float]:
    """Workers that had registered → when their zone's instances were warned."""
    registered = {row["worker_identifier"]: second_of(row) for row in evidence.audits if row["event"] == "registered"}
    warned = [(name, zone["t"]) for zone in evidence.of("zone") for name in zone["warned"]]
    return {name: t for name, t in warned if registered.get(name, math.inf) < t - 1}


def _shut(row: Entry, name: str) -> bool:
    return row["worker_identifier"] == name and row["event"] in SHUT


def _out_by(evidence: Evidence, name: str, t: float) -> bool:
    said = [
        row["event"]
        for row in evidence.audits
        if row["worker_identifier"] == name and row["event"] in SHUT | OPEN and second_of(row) <= t
    ]
    return bool(said) and said[-1] in SHUT


def breaker_opened(evidence: Evidence) -> bool:
    """It opened over a broken image, and a worker of that fleet registered once the image was mended."""
    return any(_opened_and_closed(evidence, group) for group in broken_launches(evidence))


def _opened_and_closed(evidence: Evidence, group: str) -> bool:
    mended = [e["t"] for e in evidence.of("image") if (e["group"], e["state"]) == (group, "good")]
    members = {entry["id"] for entry in evidence.of("instance") if entry["group"] == group}
    joined = [
        second_of(row)
        for row in evidence.audits
        if row["event"] == "registered" and row["worker_identifier"] in members
    ]
    return bool(mended and _said(evidence, group, "breaker open")) and max(joined, default=0.0) > mended[-1]


def backend_held(evidence: Evidence) -> bool:
    """Reconcile held the stage for the silence of all while the backend was away, and acted again after it."""
    away = [entry["t"] for entry in evidence.of("backend") if entry["state"] == "away"]
    back = [entry["t"] for entry in evidence.of("backend") if entry["state"] == "back"]
    if not away or not back:
        return False
    looks = [entry for entry in evidence.decisions if "reconcile" in str(entry["function"])]
    held = [when(entry) for entry in looks if "the backend seems away" in str(entry.get("reason"))]
    later = [entry for entry in looks if when(entry) > back[-1] + BACK_SECONDS and entry.get("rule") != "hold"]
    return any(away[0] < t < back[-1] + BACK_SECONDS for t in held) and bool(later)


def _next(entries: list[Entry], after: Entry, state: str) -> float:
    later = (e["t"] for e in entries if e["group"] == after["group"] and e["t"] > after["t"] and e["state"] == state)
    return float(next(later, math.inf))


def _said(evidence: Evidence, group: str, words: str) -> list[float]:
    fleet = (entry for entry in evidence.decisions if entry.get("fleet") == group)
    return [when(entry) for entry in fleet if words in str(entry.get("reason"))]


def _reason(row: Entry) -> str:
    return str((row.get("metadata") or {}).get("reason", ""))


SCENES: dict[str, tuple[str, Callable[[Evidence], bool]]] = {
    "dry market": ("no launch was refused, told with its reason, and made good when there was capacity", dry_market),
    "pool replaced": (
        "no replacement was launched for a recommended instance without a job being taken",
        pool_replaced,
    ),
    "zone reclaimed": ("nobody was warned in a zone, or not all of them were drained or gone at once", zone_marked),
    "broken image": ("no breaker opened over a broken image and closed when it was mended", breaker_opened),
    "backend away": ("no hold while the backend was away, or no look that acted after it", backend_held),
}
"""Name → (what is missing when it did not happen, whether it happened), as in lab/scenes.py."""
