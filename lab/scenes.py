"""Whether what a story promises to show was there to be seen, judged by what the run left behind. Pure."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

from lab import measures, spot_scenes
from lab.latencies import raises, request_latencies
from lab.lines import when
from lab.measures import TERMINATE, Entry, Evidence, second_of

ANSWER_SECONDS = 2.0
"""A job that comes so soon after its alarm came before anybody could have acted on it."""


def missing(evidence: Evidence) -> list[str]:
    """One sentence for each scene of the stories begun (kind `story`) that did not happen as its title says."""
    promised = dict.fromkeys(name for story in evidence.of("story") for name in story["shows"])
    known = SCENES | spot_scenes.SCENES
    judged = ((name, *known[name]) for name in promised)
    return [f"scene not seen, {name}: {sentence}" for name, sentence, happened in judged if not happened(evidence)]


def limit(evidence: Evidence) -> float:
    """Seconds that all the stories begun may take together."""
    return sum((story["limit"] for story in evidence.of("story")), start=0.0) or math.inf


# -- up and down ---------------------------------------------------------------------------------------------------


def by_the_tick(evidence: Evidence) -> bool:
    return _from_zero(evidence, nudged=False)


def by_a_nudge(evidence: Evidence) -> bool:
    return _from_zero(evidence, nudged=True)


def _from_zero(evidence: Evidence, *, nudged: bool) -> bool:
    """The very first raise of some fleet answered a burst of that kind."""
    answered = request_latencies(evidence, nudged=nudged)
    came = {job["burst"]: job for job in reversed(evidence.of("job")) if job["burst"] in answered}
    first = {group: t for t, group in reversed(raises(evidence))}
    return any(
        group.endswith(f"-{job['workflow']}") and abs(t - job["t"] - answered[burst]) < 0.01
        for burst, job in came.items()
        for group, t in first.items()
    )


def backlog_followed(evidence: Evidence) -> bool:
    """Desired of one fleet rose twice or more, and fell."""
    return any(_rose_twice_and_fell(_desired(evidence, group)) for group in evidence.fleets)


def _rose_twice_and_fell(desired: list[int]) -> bool:
    steps = [after - before for before, after in pairwise(desired)]
    return sum(step > 0 for step in steps) >= 2 and any(step < 0 for step in steps)


def _desired(evidence: Evidence, group: str) -> list[int]:
    return [sample["fleets"][group]["desired"] for sample in evidence.samples if group in sample["fleets"]]


def scaled_to_zero(evidence: Evidence) -> bool:
    """Every fleet had instances, and has none in the end."""
    lived = {entry["group"] for entry in evidence.of("instance")}
    return bool(evidence.fleets) and lived >= set(evidence.fleets) and not measures.not_at_zero(evidence)


# -- scale-in ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lease:
    """From its poll to its end in whole seconds of the database; without an end it lasts for ever."""

    instance: str
    begin: float
    end: float

    def surely_at(self, t: float) -> bool:
        return self.begin + 1 <= t < self.end


def leases(evidence: Evidence) -> list[Lease]:
    found: list[Lease] = []
    begun: dict[tuple[str, int], float] = {}
    for row in evidence.audits:
        key = (row["worker_identifier"], row["dispatch_id"])
        if row["event"] == "poll":
            begun[key] = second_of(row)
        elif row["event"] in ("complete", "fail", "requeued") and key in begun:
            found.append(Lease(key[0], begun.pop(key), second_of(row)))
    return found + [Lease(key[0], begin, math.inf) for key, begin in begun.items()]


def idle_one_gone(evidence: Evidence) -> bool:
    """An instance without a job was terminated by name while another of its fleet was at work."""
    groups, held = {entry["id"]: entry["group"] for entry in evidence.of("instance")}, leases(evidence)
    gone = {entry["id"]: entry["t"] for entry in evidence.of("instance") if entry["state"] == "terminating"}

    def neighbour_busy(instance: str, t: float) -> bool:
        busy = {lease.instance for lease in held if lease.surely_at(t)} - {instance}
        return any(groups.get(other) == groups[instance] and t < gone.get(other, math.inf) for other in busy)

    return any(
        instance in groups
        and neighbour_busy(instance, t)
        and not any(one.instance == instance and one.surely_at(t) for one in held)
        for t, instance in _terminated_by_name(evidence)
    )


def _terminated_by_name(evidence: Evidence) -> list[tuple[float, str]]:
    calls = (call for call in measures.product_calls(evidence) if call["operation"] == TERMINATE and not call["error"])
    return [(call["t"], str(call["request"]["InstanceId"])) for call in calls]


def late_job(evidence: Evidence) -> bool:
    """It came right after the alarm, was completed, and its fleet's scale-in was aborted or did not begin meanwhile."""
    return any(_late_and_served(evidence, job) for job in evidence.of("job") if job["burst"] == "late job")


def _late_and_served(evidence: Evidence, job: Entry) -> bool:
    rang = [
        alarm["t"]
        for alarm in evidence.of("alarm")
        if alarm["to"] == "ALARM" and alarm["name"].endswith(f"-{job['workflow']}-queue-empty")
        and job["t"] - ANSWER_SECONDS < alarm["t"] < job["t"]
    ]  # fmt: skip
    done = [
        second_of(row) + 1
        for row in evidence.audits
        if row["dispatch_id"] == job["dispatch_id"] and row["event"] == "complete"
    ]
    if not rang or not done:
        return False
    fleet = [entry for entry in evidence.decisions if str(entry.get("fleet")).endswith(f"-{job['workflow']}")]
    aborted = any(_aborted(entry) and when(entry) > job["t"] for entry in fleet)
    return aborted or not any(entry.get("started") and rang[-1] < when(entry) < done[-1] for entry in fleet)


def _aborted(decision: Entry) -> bool:
    return decision.get("outcome") == "aborted" or decision.get("next") == "release"


# -- mishaps -------------------------------------------------------------------------------------------------------


def second_warning(evidence: Evidence) -> bool:
    """A warning was delivered twice and every time that led to one execution and one requeue."""
    warned = {entry["id"] for entry in evidence.of("instance") if entry["state"] == "warned"}
    twice = [(name, instance) for name, instance in _asked_twice(evidence) if instance in warned]
    ran = [entry["name"] for entry in evidence.of("execution") if entry["status"] == "RUNNING"]
    requeued = [row["worker_identifier"] for row in evidence.audits if row["event"] == "requeued"]
    once = all(ran.count(name) == 1 and requeued.count(instance) <= 1 for name, instance in twice)
    return once and any(instance in requeued for _, instance in twice)


def _asked_twice(evidence: Evidence) -> Iterable[tuple[str, str]]:
    """(execution, instance) of what two deliveries asked for under the same name."""
    calls = [call for call in measures.product_calls(evidence) if call["operation"] == "StartExecution"]
    names = [str(call["request"].get("name", "")) for call in calls]
    instances = {entry["id"] for entry in evidence.of("instance")}
    return [(n, i) for n in dict.fromkeys(names) for i in instances if names.count(n) > 1 and n.startswith(i)]


def sudden_death(evidence: Evidence) -> bool:
    """Someone who was gone without warning held a job, and it went back to the queue."""
    gone = {entry["id"] for entry in evidence.of("instance") if "without warning" in str(entry.get("cause"))}
    requeued = {row["worker_identifier"] for row in evidence.audits if row["event"] == "requeued"}
    return bool(gone & requeued & {instance for _, instance in measures.cut_leases(evidence)})


def held_and_resumed(evidence: Evidence) -> bool:
    """Reconcile decided to hold while the database was away, and changed a fleet after it was back."""
    away = [entry["t"] for entry in evidence.of("database") if entry["state"] == "away"]
    back = [entry["t"] for entry in evidence.of("database") if entry["state"] == "back"]
    if not away or not back:
        return False
    holds = (entry for entry in evidence.decisions if entry.get("rule") == "hold")
    held = any(away[0] <= when(entry) <= back[0] and "reconcile" in str(entry["function"]) for entry in holds)
    changes = [t for t, _, _ in measures.accepted(evidence)] + [t for t, _ in _terminated_by_name(evidence)]
    return held and max(changes, default=0.0) > back[0]


def admin_drain_kept(evidence: Evidence) -> bool:
    """An administrator drained a worker and gave it back, and nobody touched it in between."""
    given_back = [drain for drain in measures.admin_drains(evidence) if drain.last < math.inf]
    return bool(given_back) and not measures.touched_admin_drains(evidence)


SCENES: dict[str, tuple[str, Callable[[Evidence], bool]]] = {
    "from zero by the tick": ("no fleet left zero for a burst without a nudge", by_the_tick),
    "from zero by a nudge": ("no fleet left zero for a burst with a nudge", by_a_nudge),
    "backlog followed": ("no fleet's desired rose twice and fell", backlog_followed),
    "idle one gone": ("no idle instance was terminated while a neighbour was busy", idle_one_gone),
    "second warning": ("no second delivery of a warning met one execution and one requeue", second_warning),
    "sudden death": ("no job of an instance gone without warning was requeued", sudden_death),
    "admin's drain": ("no worker was drained by hand, left alone and given back", admin_drain_kept),
    "hold": ("no hold while the database was away, or no change after it was back", held_and_resumed),
    "late job": ("no job came right after the alarm, was served, and kept its fleet from zero", late_job),
    "scale to zero": ("not every fleet had instances and has none now", scaled_to_zero),
}
"""Name → (what is missing when it did not happen, whether it happened)."""
