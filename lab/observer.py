"""The judge: from what a run left behind to `summary.json`. Knows the platform and the account, not the product."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab import latencies, launch_measures, measures, scenes, spot_scenes, tail
from lab.iam.judge import Verdict
from lab.mariadb import Connection
from lab.measures import Entry, Evidence, p95
from lab.secrecy import Search, produced

AIMS = {
    "enqueue_to_request_loop_p95_s": 12.0,
    "enqueue_to_request_nudged_p95_s": 1.5,
    "requeue_p95_s": 2.0,
    "zone_marked_p95_s": 5.0,
}
"""Upper bounds in seconds; missing one is told, and breaks no invariant."""


def gather(run: Path, connect: Callable[[], Connection], autoscaling: Any) -> Evidence:
    """Read everything once the story is over. `run` holds journal.jsonl, samples.jsonl and logs/."""
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM ai_job_dispatches ORDER BY id")
        dispatches = list(cursor.fetchall())
        cursor.execute("SELECT * FROM worker_audit_logs ORDER BY id")
        audits = [{**row, "metadata": json.loads(row["metadata"] or "null")} for row in cursor.fetchall()]
    observed = tail.read(run / "samples.jsonl")
    return Evidence(
        journal=tail.read(run / "journal.jsonl"),
        dispatches=dispatches,
        audits=audits,
        samples=[entry for entry in observed if entry["kind"] == "sample"],
        releases=[entry for entry in observed if entry["kind"] == "released" and entry["held"]],
        workers=[said for log in sorted((run / "workers").glob("*.jsonl")) for said in tail.read(log)],
        decisions=decisions(run / "logs"),
        fleets=fleets(autoscaling),
    )


def decisions(logs: Path) -> list[Entry]:
    """Decision records of all functions, each with the `function` that made it, in order of time."""
    found = [
        {**entry, "function": log.stem}
        for log in sorted(logs.glob("*.log"))
        for entry in tail.read(log)
        if entry.get("message") == "decision"
    ]
    return sorted(found, key=lambda entry: str(entry.get("timestamp", "")))


def fleets(autoscaling: Any) -> dict[str, Entry]:
    return {
        group["AutoScalingGroupName"]: {
            "desired": group["DesiredCapacity"],
            "max": group["MaxSize"],
            "instances": len(group["Instances"]),
            "target": _target(group),
        }
        for group in autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    }


def _target(group: Any) -> int:
    tags = {tag["Key"]: tag["Value"] for tag in group["Tags"]}
    return int(tags.get("fleet:backlog-target", latencies.BACKLOG_TARGET))


def summarize(evidence: Evidence, seconds: float) -> dict[str, Any]:
    """The figures of a run; `broken` names the invariants that did not hold, empty when all did."""
    loop, nudged = (_prompt(evidence, latencies.request_latencies(evidence, nudged=how)) for how in (False, True))
    requeues = latencies.requeue_latencies(evidence, "warned")
    sudden = latencies.requeue_latencies(evidence, "terminating")
    statuses = Counter(row["status"] for row in evidence.dispatches)
    summary: dict[str, Any] = {
        "jobs_submitted": len(measures.submitted(evidence)),
        "jobs_completed": statuses["completed"],
        "jobs_failed": statuses["failed"],
        "jobs_lost": len(measures.lost_jobs(evidence)),
        "jobs_completed_twice": len(measures.completed_twice(evidence)),
        "leases_ended_twice": len(measures.leases_ended_twice(evidence)),
        "busy_workers_killed": len(measures.busy_workers_killed(evidence)),
        "attempts_charged_to_interruptions": measures.charged_attempts(evidence),
        "interruptions": len({e["id"] for e in evidence.of("instance") if e["state"] == "warned"}),
        "enqueue_to_request_loop_p95_s": p95(loop.values()),
        "enqueue_to_request_nudged_p95_s": p95(nudged.values()),
        "jobs_finished_in_notice": measures.finished_in_notice(evidence),
        "requeue_p95_s": p95(requeues),
        "requeue_after_sudden_death_p95_s": p95(sudden),
        "zone_marked_p95_s": p95(spot_scenes.marked_latencies(evidence)),
        "scale_out_max": max((desired for _, _, desired in measures.accepted(evidence)), default=0),
        "max_instances_launched": max((sum(n) for n in launch_measures.launches(evidence).values()), default=0),
        "instances_launched": launch_measures.launches(evidence),
        "launches_refused": launch_measures.refused_launches(evidence),
        "broken_image_launches_s": launch_measures.broken_launches(evidence),
        "replaced_while_backend_away": len(launch_measures.replaced_in_silence(evidence)),
        "final_desired": {name: fleet["desired"] for name, fleet in evidence.fleets.items()},
        "decisions": len(evidence.decisions),
        "aws_calls": _calls(evidence),
        "seconds": round(seconds, 1),
        "holds": sum(entry.get("rule") == "hold" for entry in evidence.decisions),
        "scale_ins_aborted": sum(entry.get("outcome") == "aborted" for entry in evidence.decisions),
        "admin_drains_touched": len(measures.touched_admin_drains(evidence)),
        "fenced": len(measures.fenced_workers(evidence)),
        "latencies": {"loop": loop, "nudged": nudged, "requeue": requeues, "requeue_after_sudden_death": sudden},
    }
    summary["broken"] = broken(evidence, summary)
    summary["aims_missed"] = aims_missed(summary)
    return summary


def _prompt(evidence: Evidence, latencies: dict[str, float]) -> dict[str, float]:
    """Without the bursts that had to wait for a breaker."""
    waited = launch_measures.held_back(evidence)
    return {burst: seconds for burst, seconds in latencies.items() if burst not in waited}


def add_calls(summary: dict[str, Any], verdict: Verdict) -> None:
    """What the policies of the deployed templates say to the calls of the run."""
    summary |= {"aws_calls_judged": verdict.judged, "aws_calls_refused": len(verdict.refused)}
    summary["broken"] += verdict.refused


def add_secrets(summary: dict[str, Any], search: Search, run: Path) -> None:
    """Whether a secret has left its place; `run` holds everything that was produced, the report included."""
    leaked = search.broken(run)
    summary |= {"secrets_searched_for": len(search.secrets), "files_searched": len(produced(run))}
    summary |= {"secrets_leaked": len(leaked)}
    summary["broken"] += leaked


def broken(evidence: Evidence, summary: dict[str, Any]) -> list[str]:
    """One plain sentence for each invariant that does not hold, and for each scene that did not happen."""
    limit = scenes.limit(evidence)
    found = [
        (summary["jobs_lost"], f"jobs lost: {measures.lost_jobs(evidence)}"),
        (summary["jobs_failed"], f"jobs failed: {summary['jobs_failed']}"),
        (summary["jobs_completed_twice"], f"jobs completed twice: {measures.completed_twice(evidence)}"),
        (summary["leases_ended_twice"], f"leases ended twice: {measures.leases_ended_twice(evidence)}"),
        (summary["busy_workers_killed"], f"busy workers killed: {measures.busy_workers_killed(evidence)}"),
        (summary["attempts_charged_to_interruptions"], "attempts charged to interruptions"),
        (summary["admin_drains_touched"], f"admins' drains touched: {measures.touched_admin_drains(evidence)}"),
        (summary["fenced"], f"leases taken from living workers: {measures.fenced_workers(evidence)}"),
        (measures.above_max(evidence), f"desired above max: {measures.above_max(evidence)}"),
        (launch_measures.above_budget(evidence), f"too many launches: {launch_measures.above_budget(evidence)}"),
        (launch_measures.hasty_launches(evidence), f"no breaker: {launch_measures.hasty_launches(evidence)}"),
        (
            summary["replaced_while_backend_away"],
            f"replaced while the backend was away: {launch_measures.replaced_in_silence(evidence)}",
        ),
        (measures.not_at_zero(evidence), f"fleets not back at zero: {measures.not_at_zero(evidence)}"),
        (summary["seconds"] > limit, f"took {summary['seconds']} seconds, limit {limit:g}"),
    ]
    return [sentence for bad, sentence in found if bad] + scenes.missing(evidence)


def aims_missed(summary: dict[str, Any]) -> list[str]:
    return [
        f"{name} is {summary[name]}, aim {aim}"
        for name, aim in AIMS.items()
        if summary[name] is not None and summary[name] > aim
    ]


def _calls(evidence: Evidence) -> dict[str, int]:
    names = Counter(f"{call['service']}:{call['operation']}" for call in measures.product_calls(evidence))
    return dict(sorted(names.items()))
