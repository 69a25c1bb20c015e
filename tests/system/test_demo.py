"""The product as a user meets it: a shortened demo, run as its own process, judged by what it leaves behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lab.cloud.journal import read
from tests.privilege.judge import refused

ROOT = Path(__file__).parents[2]
DEADLINE = 150.0
LINES = 60
NAMES = ("reconcile", "publish-metrics", "scale-to-zero", "scale-in", "spot-interruption", "ami-rollout")
FUNCTIONS = {f"bp-staging-{name}" for name in (*NAMES, "tenant-pool-init", "fleet-secret-init", "ami-parameter-init")}
MACHINES = {f"bp-staging-{name}" for name in ("fleet-cycle", "scale-in", "spot-interruption")}
EVIDENCE = ("histories", "environments", "templates", "queues")
PLOTTED = ("asg-staging-image-to-video", "asg-staging-face-swap")


def demo(run: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lab.demo", "--run", str(run), *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def processes_of(run: Path) -> list[str]:
    """Command lines that still speak of this run's directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it ended while we looked
            continue
        if str(run) in line and entry.parent.name != str(os.getpid()):
            found.append(line)
    return found


def last_words(told: str) -> str:
    """The result and the end of the story: of a run that failed, what a long log is searched for."""
    story, _, result = told.partition("\nResult\n")
    return "\n".join([result, "The end of the story:", *story.splitlines()[-LINES:]])


def test_a_short_story_keeps_every_invariant_and_leaves_nothing_running(tmp_path: Path) -> None:
    run = tmp_path / "demo"
    with demo(run, "--short", "--seed", "11") as process:
        told, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, last_words(told)
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
    assert summary["jobs_completed"] == summary["jobs_submitted"] == 12, last_words(told)
    nothing_of = ("jobs_lost", "jobs_completed_twice", "leases_ended_twice", "busy_workers_killed")
    assert {name: summary[name] for name in nothing_of} == dict.fromkeys(nothing_of, 0)
    assert summary["final_desired"] == dict.fromkeys(PLOTTED, 0)
    assert summary["interruptions"] >= 1
    assert summary["aws_calls"]["autoscaling:SetDesiredCapacity"] >= 2
    assert refused(run / "journal.jsonl") == []
    assert processes_of(run) == []
    assert_report_is_self_contained((run / "report.html").read_text())
    assert_it_judged_itself(run, summary)


def test_the_second_act_keeps_every_invariant_and_every_privilege(tmp_path: Path) -> None:
    run = tmp_path / "demo"
    with demo(run, "--act", "2", "--seed", "3") as process:
        told, _ = process.communicate(timeout=1.5 * DEADLINE)
    assert process.returncode == 0, last_words(told)
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
    assert summary["jobs_completed"] == summary["jobs_submitted"] >= 20, last_words(told)
    assert summary["interruptions"] >= 2
    assert sum(summary["launches_refused"].values()) >= 2
    assert [len(seconds) >= 3 for seconds in summary["broken_image_launches_s"].values()] == [True]
    assert summary["holds"] >= 1
    assert summary["replaced_while_backend_away"] == 0
    assert refused(run / "journal.jsonl") == []


def assert_report_is_self_contained(page: str) -> None:
    assert "<svg" in page
    for outside in ('src="http', "src='http", "@import", '<link rel="stylesheet"'):
        assert outside not in page


def assert_it_judged_itself(run: Path, summary: dict[str, Any]) -> None:
    """Calls against policies, secrets against all that was produced: every kind of output was there to be searched."""
    ours = sum(summary["aws_calls"].values())
    assert summary["aws_calls_judged"] > ours, "those of the machines and of EventBridge as well"
    assert (summary["aws_calls_refused"], summary["secrets_leaked"]) == (0, 0)
    assert {path.stem for path in (run / "logs").glob("*.log")} == FUNCTIONS
    kept = {name: json.loads((run / "evidence" / f"{name}.json").read_text()) for name in EVIDENCE}
    assert {history["execution"].split(":")[6] for history in kept["histories"]} == MACHINES
    assert kept["environments"]["processes"].keys() == kept["environments"]["deployed"].keys() == FUNCTIONS
    assert all(any(v.startswith("STAGE=") for v in own) for own in kept["environments"]["processes"].values())
    assert "samconfig.toml" in kept["templates"]["sources"]
    assert kinds_of_events(run) >= {"JobQueued", "EC2 Spot Instance Interruption Warning"}
    assert {"secretsmanager", "execute"} < {segment["name"] for segment in read(run / "traces.jsonl")}
    assert "Spot takes back a busy instance" in (run / "screen.txt").read_text()


def kinds_of_events(run: Path) -> set[str | None]:
    """`detail-type` of what the functions were given, by EventBridge itself or in a queue's batch."""
    events = [json.loads(entry["event"]) for entry in read(run / "invocations.jsonl")]
    bodies = [json.loads(record["body"]) for event in events for record in event.get("Records", []) if "body" in record]
    return {event.get("detail-type") for event in events + bodies}


@pytest.mark.parametrize("after", [1.0, 14.0], ids=["while setting up", "in the middle of the story"])
def test_ctrl_c_stops_it_cleanly(tmp_path: Path, after: float) -> None:
    run = tmp_path / "demo"
    with demo(run, "--short") as process:
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=30)
    assert process.returncode == 130, last_words(told)
    assert "Traceback" not in told
    assert processes_of(run) == []
