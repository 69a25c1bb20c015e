"""One telling of the story: set up the world, play, judge, stop everything."""

import json
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lab import observer, screen
from lab.evidence import ALLOWED, keep, secrets_of
from lab.first_act import FULL, SHORT
from lab.iam.judge import judge
from lab.jobs import JobSource, arrivals
from lab.measures import Evidence
from lab.narrator import Narrator
from lab.pace import EMPTY_MINUTES, PACE, SCALE, TAGS, show_scale
from lab.payloads import Payloads
from lab.report import write_report
from lab.sampler import Sampler
from lab.second_act import second_act
from lab.secrecy import Search
from lab.story import Director, Stage, Story
from lab.workers import Workers
from lab.world import World

WARM = 3
CURTAIN = 124.0
"""When the second act begins at the latest: all fleets must be at zero at the end, here most of them are."""

SHOWN = ("invocations.jsonl", "logs/bp-staging-spot-interruption.log", "report.html")
"""Where the id of a stranger's instance must be found: an event told it, and the function said that it is not ours."""


@dataclass(frozen=True)
class Options:
    """`run` is emptied first; `act` None means both; `svg` receives the plots as one picture."""

    run: Path
    seed: int
    short: bool
    act: int | None = None
    svg: Path | None = None

    @property
    def acts(self) -> tuple[Story, ...]:
        if self.short:
            return (SHORT,)
        first, second = FULL, second_act(self.seed)
        if self.act is not None:
            return ((first, second)[self.act - 1],)
        return (replace(first, limit=CURTAIN), second)


def perform(options: Options) -> dict[str, Any]:
    """Set up, play, judge, stop everything; the summary, which is also written with the report."""
    shutil.rmtree(options.run, ignore_errors=True)
    options.run.mkdir(parents=True)
    with screen.kept(options.run / "screen.txt"):
        return _told(options)


def _told(options: Options) -> dict[str, Any]:
    print("Setting up: a database, an AWS account, the deployed control plane ...", flush=True)
    world = World(options.run, scale=SCALE, tags=TAGS, parameters={"ScaleToZeroMinutes": str(EMPTY_MINUTES)})
    with world:
        show_scale()
        run = Run(world, options)
        seconds, failures, start = run.play()
        evidence = observer.gather(options.run, world.connect, world.cloud.client("autoscaling", "observer"))
        keep(world)
        search = run.search()
    summary = observer.summarize(evidence, seconds)
    summary["broken"] += failures
    observer.add_calls(summary, judge(evidence.journal, world.stacks))
    write_results(options, summary, evidence, start)
    observer.add_secrets(summary, search, options.run)
    write_results(options, summary, evidence, start)
    return summary


class Run:
    """One telling of the story over a world that is deployed and does not move yet."""

    def __init__(self, world: World, options: Options) -> None:
        self._world, self._options = world, options
        self._stop = threading.Event()
        self._workers = Workers(world.database, options.run / "workers", PACE)
        self._source = JobSource(world.connect, world.journal, self._nudge)
        self._stage = Stage(world, self._source, world.journal, self._nudge, self._stop)
        self._directors: list[Director] = []
        autoscaling = world.cloud.client("autoscaling", "observer")
        self._strangers = [f"i-{secrets.token_hex(9)[1:]}" for _ in range(WARM)]
        self._sampler = Sampler(
            world.connect, autoscaling, options.run / "journal.jsonl", options.run / "samples.jsonl"
        )

    def play(self) -> tuple[float, list[str], float]:
        """(seconds the story took, what could not be told, unix time of its beginning)."""
        try:
            self._prepare()
        except BaseException:
            self._workers.close()
            raise
        start, began = time.time(), time.monotonic()
        narrator = Narrator(self._options.run, start)
        try:
            for part in (self._sampler, narrator, self._world):
                part.start()
            for act in self._options.acts:
                self._play(act)
            failures = [failure for director in self._directors for failure in director.failures]
            return time.monotonic() - began, failures, start
        finally:
            self._stop.set()
            for director in self._directors:
                director.join()
            self._sampler.close()
            self._workers.close()
            self._source.close()
            narrator.close()

    def _play(self, act: Story) -> None:
        """One act, until everything in it is told and every fleet is back at zero, or until its limit."""
        self._world.tune(act.tags)
        self._world.journal.write("act", name=act.name, most_launches=act.most_launches, tags=dict(act.tags))
        began, plan = time.monotonic(), arrivals(act.bursts, self._options.seed)
        director = Director(self._stage, act)
        jobs = threading.Thread(target=self._source.run, args=(plan, began, self._stop), daemon=True)
        jobs.start()
        self._directors.append(director)
        director.start(began)
        self._wait(lambda: jobs.is_alive() or director.playing, began + act.limit)

    def _prepare(self) -> None:
        """The application's own data, and worker processes for instances."""
        payloads = Payloads(self._world.connect)
        payloads.create()
        payloads.close()
        with self._world.connect() as connection, connection.cursor() as cursor:
            for slug in self._slugs():
                cursor.execute("INSERT INTO workflows (name, slug, created_at) VALUES (%s, %s, NOW())", (slug, slug))
        self._warn_others()
        self._world.cloud.groups.on_running = self._boot
        self._world.cloud.groups.on_warned = self._workers.warn
        self._world.cloud.groups.on_gone = self._workers.kill
        self._world.journal.listen(self._hear)

    def _warn_others(self) -> None:
        """Warnings come for every Spot instance of the account. Those for others are ignored, and leave enough
        environments of the function warm that the story measures the requeue and not this machine's cold starts."""
        answered = threading.Semaphore(0)

        def count(entry: dict[str, Any]) -> None:
            if entry["kind"] == "invocation" and str(entry["function"]).endswith("spot-interruption"):
                answered.release()

        self._world.journal.listen(count)
        for instance in self._strangers:
            detail = {"instance-id": instance, "instance-action": "terminate"}
            self._world.put_event("aws.ec2", "EC2 Spot Instance Interruption Warning", detail)
        for _ in range(WARM):
            answered.acquire(timeout=10)

    def search(self) -> Search:
        """For the secrets of this run, and for a stranger's id, which goes the ways a secret would go."""
        workers = {
            "token of a worker": self._workers.token_mark,
            "fleet secret of the workers": self._workers.fleet_secret,
        }
        known = {**secrets_of(self._world), **workers}
        return Search(known, self._strangers[0], SHOWN, ALLOWED)

    def _slugs(self) -> list[str]:
        tags = [tag for group in self._world.fleets() for tag in group["Tags"]]
        return sorted({tag["Value"] for tag in tags if tag["Key"] == "WorkflowSlug"})

    def _boot(self, instance: str, _: str, tags: dict[str, str]) -> None:
        if self._world.boots(instance):
            self._workers.start(instance, tags["WorkflowSlug"].split())

    def _nudge(self, workflow: str) -> None:
        self._world.put_event("bp.backend", "JobQueued", {"workflow_slug": workflow})

    def _hear(self, entry: dict[str, Any]) -> None:
        if entry["kind"] == "alarm":
            for listener in self._stage.alarms:
                listener(entry["name"], entry["to"])

    def _wait(self, playing: Callable[[], bool], limit: float) -> None:
        while time.monotonic() < limit:
            time.sleep(0.5)
            if not playing() and self._at_rest():
                return

    def _at_rest(self) -> bool:
        if any(group["DesiredCapacity"] or group["Instances"] for group in self._world.fleets()):
            return False
        with self._world.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) AS n FROM ai_job_dispatches WHERE status IN ('queued', 'leased')")
            return cursor.fetchone() == {"n": 0}


def write_results(options: Options, summary: dict[str, Any], evidence: Evidence, start: float) -> None:
    (options.run / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    write_report(options.run / "report.html", summary, evidence, start, svg=options.svg)
