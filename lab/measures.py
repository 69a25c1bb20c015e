"""What happened, computed after the fact from the journal, the workers' own words and the database. Pure."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    workers: Sequence[Entry] = ()
    """What the workers said of themselves, in order of time for each."""
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


def leases_ended_twice(evidence: Evidence) -> list[int]:
    """Jobs given back, completed or failed more often than they were handed out: two have ended the same lease."""
    balance: Counter[int] = Counter()
    for row in evidence.audits:
        if row["event"] in ("poll", "requeued", "complete", "fail"):
            balance[row["dispatch_id"]] += 1 if row["event"] == "poll" else -1
    return sorted(dispatch for dispatch, left in balance.items() if left < 0)


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


@dataclass(frozen=True)
class AdminDrain:
    """`first` and `last` bound the ids of audit rows, both exclusive, that were written while it held."""

    instance: str
    begin: float
    first: int
    end: float = math.inf
    last: float = math.inf


def admin_drains(evidence: Evidence) -> list[AdminDrain]:
    drains: list[AdminDrain] = []
    for entry in evidence.of("admin"):
        if entry["action"] == "drain":
            drains.append(AdminDrain(entry["id"], entry["t"], entry["audit_id"]))
        else:
            given_back = {"end": entry["t"], "last": entry["audit_id"] + 1}
            drains = [
                replace(one, **given_back) if one.instance == entry["id"] and one.last == math.inf else one
                for one in drains
            ]
    return drains


def touched_admin_drains(evidence: Evidence) -> list[str]:
    """Workers drained by an administrator that we drained, undrained or terminated before they were given back.

    Audit rows are told apart by id: their times are whole seconds.
    """
    ours = killed_by_us(evidence)
    return sorted({
        drain.instance
        for drain in admin_drains(evidence)
        if any(_written_during(drain, row) for row in evidence.audits)
        or (drain.instance in ours and any(_went_during(drain, entry) for entry in evidence.of("instance")))
    })  # fmt: skip


def _written_during(drain: AdminDrain, row: Entry) -> bool:
    ours = row["event"].startswith("fleet_") and row["worker_identifier"] == drain.instance
    return bool(ours and drain.first < row["id"] < drain.last)


def _went_during(drain: AdminDrain, entry: Entry) -> bool:
    going = entry["state"] == "terminating" and entry["id"] == drain.instance
    return bool(going and drain.begin < entry["t"] < drain.end)


def fenced_workers(evidence: Evidence) -> list[str]:
    """Workers whose lease was taken from them although their instance was neither warned nor dead at that time. Whoever
    never heard of it, because the answer to a poll was lost, has not lost it."""
    heard = Counter((e["worker_id"], e.get("dispatch_id")) for e in evidence.workers if e["event"] == "leased")
    handed_out = Counter((e["worker_identifier"], e["dispatch_id"]) for e in evidence.audits if e["event"] == "poll")
    unheard = handed_out - heard if evidence.workers else Counter()
    lost: dict[str, float] = {}
    for entry in evidence.of("instance"):
        if entry["state"] in ("warned", "terminating", "terminated"):
            lost.setdefault(entry["id"], entry["t"])
    return sorted({
        row["worker_identifier"]
        for row in evidence.audits
        if row["event"] == "requeued" and lost.get(row["worker_identifier"], math.inf) >= second_of(row) + 1
        and not (_reason(row) == "worker_lost" and unheard[row["worker_identifier"], row["dispatch_id"]])
    })  # fmt: skip


def second_of(row: Entry) -> float:
    """Unix seconds of a naive UTC timestamp of the database, which cuts off fractions: the row is up to 1 s younger."""
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


# -- the product's calls -------------------------------------------------------------------------------------------


def product_calls(evidence: Evidence) -> list[Entry]:
    return [entry for entry in evidence.of("aws_call") if entry.get("caller") not in LAB_CALLERS]


def accepted(evidence: Evidence) -> list[tuple[float, str, int]]:
    """(time, group, desired) of each SetDesiredCapacity that was accepted, in order."""
    return [
        (call["t"], str(call["request"]["AutoScalingGroupName"]), int(call["request"]["DesiredCapacity"]))
        for call in product_calls(evidence)
        if call["operation"] == "SetDesiredCapacity" and not call["error"]
    ]


def finished_in_notice(evidence: Evidence) -> int:
    """Jobs that a warned worker completed before its end."""
    warned = {entry["id"]: entry["t"] for entry in evidence.of("instance") if entry["state"] == "warned"}
    ended = [row for row in evidence.audits if row["event"] == "complete" and row["worker_identifier"] in warned]
    return sum(second_of(row) >= math.floor(warned[row["worker_identifier"]]) for row in ended)
