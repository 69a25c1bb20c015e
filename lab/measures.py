"""What happened, computed after the fact from the journal, the workers' own words and the database. Pure."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

Entry = Mapping[str, Any]
LAB_CALLERS = frozenset({None, "", "lab", "observer"})
SPOT_REASONS = frozenset({"spot_interruption", "capacity_rebalance"})
TERMINATE = "TerminateInstanceInAutoScalingGroup"


@dataclass(frozen=True)
class Evidence:
    """Everything a run left behind. `dispatches` and `audits` are the database's rows, ordered by id."""

    journal: Sequence[Entry]
    dispatches: Sequence[Entry]
    audits: Sequence[Entry]
    samples: Sequence[Entry] = ()
    releases: Sequence[Entry] = ()
    decisions: Sequence[Entry] = ()
    fleets: Mapping[str, Entry] = field(default_factory=dict)
    """Group name → its desired, max and number of instances at the very end."""

    def of(self, kind: str) -> list[Entry]:
        return [entry for entry in self.journal if entry["kind"] == kind]


def p95(values: Iterable[float]) -> float | None:
    """Nearest rank, so that a handful of values gives their worst; None when there are none."""
    ranked = sorted(values)
    return round(ranked[math.ceil(0.95 * len(ranked)) - 1], 3) if ranked else None


# -- jobs ----------------------------------------------------------------------------------------------------------


def submitted(evidence: Evidence) -> list[int]:
    return [entry["dispatch_id"] for entry in evidence.of("job") if entry["event"] == "committed"]


def lost_jobs(evidence: Evidence) -> list[int]:
    """Submitted and neither completed nor failed at the end."""
    ended = {row["id"] for row in evidence.dispatches if row["status"] in ("completed", "failed")}
    return [dispatch for dispatch in submitted(evidence) if dispatch not in ended]


def completed_twice(evidence: Evidence) -> list[int]:
    times = Counter(row["dispatch_id"] for row in evidence.audits if row["event"] == "complete")
    return sorted(dispatch for dispatch, count in times.items() if count > 1)


def cut_leases(evidence: Evidence) -> list[tuple[int, str]]:
    """(dispatch, instance) of each lease whose worker died before it could complete or fail."""
    dead = {entry["id"] for entry in evidence.of("instance") if entry["state"] in ("terminating", "terminated")}
    balance: Counter[tuple[int, str]] = Counter()
    for row in evidence.audits:
        if row["worker_identifier"] in dead and row["event"] in ("poll", "complete", "fail"):
            balance[(row["dispatch_id"], row["worker_identifier"])] += 1 if row["event"] == "poll" else -1
    return sorted(key for key, open_leases in balance.items() if open_leases > 0)


def charged_attempts(evidence: Evidence) -> int:
    """Attempts beyond those that ran to their own end: leases cut by the death of an instance must cost nothing."""
    leases = Counter(row["dispatch_id"] for row in evidence.audits if row["event"] == "poll")
    cut = Counter(dispatch for dispatch, _ in cut_leases(evidence))
    return sum(
        max(0, row["attempts"] - (leases[row["id"]] - cut[row["id"]]))
        for row in evidence.dispatches
        if row["id"] in cut and row["status"] in ("completed", "failed")
    )


# -- instances -----------------------------------------------------------------------------------------------------


def killed_by_us(evidence: Evidence) -> set[str]:
    """Instances that went because the control plane said so: by name, or by a desired capacity below the existing."""
    named = {
        str(call["request"].get("InstanceId"))
        for call in product_calls(evidence)
        if call["operation"] == TERMINATE and not call["error"]
    }
    lowered = {
        entry["id"]
        for entry in evidence.of("instance")
        if entry["state"] == "terminating" and "shrinking the capacity" in str(entry.get("cause"))
    }
    return named | lowered


def busy_workers_killed(evidence: Evidence) -> list[str]:
    """Instances ended by us before their worker finished a job, Spot requeues apart."""
    by_spot = {
        (row["dispatch_id"], row["worker_identifier"])
        for row in evidence.audits
        if row["event"] == "requeued" and _reason(row) in SPOT_REASONS
    }
    ours = killed_by_us(evidence) - {entry["id"] for entry in evidence.of("instance") if _by_itself(entry)}
    return sorted({instance for dispatch, instance in cut_leases(evidence)
                   if instance in ours and (dispatch, instance) not in by_spot})  # fmt: skip


def _by_itself(entry: Entry) -> bool:
    return entry["state"] == "terminating" and "without warning" in str(entry.get("cause"))


def _reason(row: Entry) -> str:
    metadata = row.get("metadata")
    return str(metadata.get("reason", "")) if isinstance(metadata, Mapping) else ""


def touched_admin_drains(evidence: Evidence) -> list[str]:
    """Workers drained by an administrator that we drained, undrained or terminated before they were given back."""
    touched: set[str] = set()
    for begin, end, instance in _admin_drains(evidence):
        ours = [row for row in evidence.audits if row["worker_identifier"] == instance and begin < _at(row) < end]
        gone = [e for e in evidence.of("instance") if e["id"] == instance and begin < e["t"] < end]
        if any(row["event"].startswith("fleet_") for row in ours) or any(e["state"] == "terminating" for e in gone):
            touched.add(instance)
    return sorted(touched)


def _admin_drains(evidence: Evidence) -> list[tuple[float, float, str]]:
    drains: list[tuple[float, float, str]] = []
    for entry in evidence.of("admin"):
        if entry["action"] == "drain":
            drains.append((entry["t"], math.inf, entry["id"]))
        else:
            drains = [(b, entry["t"] if i == entry["id"] else e, i) for b, e, i in drains]
    return drains


def _at(row: Entry) -> float:
    """Unix seconds of a naive UTC timestamp of the database."""
    return float(row["created_at"].replace(tzinfo=UTC).timestamp())


def above_max(evidence: Evidence) -> list[str]:
    """Groups whose desired capacity was seen or accepted above their max."""
    limits = {name: fleet["max"] for name, fleet in evidence.fleets.items()}
    seen = {name for sample in evidence.samples for name, fleet in sample["fleets"].items() if _over(fleet)}
    asked = {group for _, group, desired in accepted(evidence) if desired > limits.get(group, math.inf)}
    return sorted(seen | asked)


def _over(fleet: Entry) -> bool:
    return bool(fleet["desired"] > fleet["max"])


def not_at_zero(evidence: Evidence) -> list[str]:
    return sorted(name for name, fleet in evidence.fleets.items() if fleet["desired"] or fleet["instances"])


# -- the product's calls and latencies -----------------------------------------------------------------------------


def product_calls(evidence: Evidence) -> list[Entry]:
    return [entry for entry in evidence.of("aws_call") if entry.get("caller") not in LAB_CALLERS]


def accepted(evidence: Evidence) -> list[tuple[float, str, int]]:
    """(time, group, desired) of each SetDesiredCapacity that was accepted, in order."""
    return [
        (call["t"], str(call["request"]["AutoScalingGroupName"]), int(call["request"]["DesiredCapacity"]))
        for call in product_calls(evidence)
        if call["operation"] == "SetDesiredCapacity" and not call["error"]
    ]


def request_latencies(evidence: Evidence, *, nudged: bool) -> dict[str, float]:
    """Burst → seconds from its first commit to the first raise accepted for its fleet, before the next burst there.

    A burst that the standing capacity can serve asks for no raise and is not in it; a single job is no burst.
    """
    first: dict[str, Entry] = {}
    sizes = Counter(job["burst"] for job in evidence.of("job"))
    for job in evidence.of("job"):
        if job["event"] == "committed":
            first.setdefault(job["burst"], job)
    raises = _raises(evidence)
    latencies: dict[str, float] = {}
    for burst, job in first.items():
        later = [
            other["t"] for other in first.values() if other["workflow"] == job["workflow"] and other["t"] > job["t"]
        ]
        answer = next((t for t, group in raises if group.endswith(f"-{job['workflow']}") and t >= job["t"]), None)
        counts = sizes[burst] > 1 and bool(job["nudged"]) is nudged
        if counts and answer is not None and answer < min(later, default=math.inf):
            latencies[burst] = round(answer - job["t"], 3)
    return latencies


def _raises(evidence: Evidence) -> list[tuple[float, str]]:
    last: dict[str, tuple[float, int]] = {}
    raises = []
    for t, group, desired in accepted(evidence):
        if desired > _desired_before(evidence, group, t, last.get(group, (0.0, 0))):
            raises.append((t, group))
        last[group] = (t, desired)
    return raises


def _desired_before(evidence: Evidence, group: str, t: float, last: tuple[float, int]) -> int:
    """The last request, or what a later sample saw: terminations with decrement lower desired too."""
    asked_at, asked = last
    for sample in reversed(evidence.samples):
        if asked_at < sample["t"] < t and group in sample["fleets"]:
            return int(sample["fleets"][group]["desired"])
    return asked


def requeue_latencies(evidence: Evidence, cause: str) -> list[float]:
    """Seconds from the loss (`warned` or `terminating`) to the job being leasable again, as the sampler saw it.

    A warned worker that was given time to finish (`finish_by` in its drain) is not in it: its jobs were not waiting.
    """
    spared = {row["worker_identifier"] for row in evidence.audits if (row.get("metadata") or {}).get("finish_by")}
    requeued = {row["worker_identifier"] for row in evidence.audits if row["event"] == "requeued"}
    lost = requeued - spared
    return [r["seconds"] for r in evidence.releases if r["cause"] == cause and r["instance"] in lost]


def finished_in_notice(evidence: Evidence) -> int:
    """Jobs that a warned worker completed before its end."""
    warned = {entry["id"]: entry["t"] for entry in evidence.of("instance") if entry["state"] == "warned"}
    ended = [row for row in evidence.audits if row["event"] == "complete" and row["worker_identifier"] in warned]
    return sum(_at(row) >= math.floor(warned[row["worker_identifier"]]) for row in ended)
