"""A world to be visited: workers for its instances, jobs and mishaps on request, and a way in for `sam local`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from lab.control import Control
from lab.door import open_door
from lab.jobs import Arrival, JobSource
from lab.narrator import Narrator
from lab.pace import EMPTY_MINUTES, PACE, SCALE, TAGS
from lab.payloads import Payloads
from lab.story import NOTICE_SECONDS
from lab.workers import Workers
from lab.world import World

TENANT = "acme"
QUEUE = """
SELECT w.slug, d.status, COUNT(*) AS jobs FROM ai_job_dispatches d JOIN workflows w ON w.id = d.workflow_id
GROUP BY w.slug, d.status ORDER BY w.slug, d.status
"""
BUSY = """
SELECT DISTINCT d.worker_id FROM ai_job_dispatches d WHERE d.status = 'leased' AND d.worker_id LIKE 'i-%' ORDER BY 1
"""


class Visit:
    """Entering sets everything up and lets time run; `port` is the AWS endpoint's, 0 any free one."""

    def __init__(self, run: Path, port: int = 0) -> None:
        self.run = run
        parameters = {"ScaleToZeroMinutes": str(EMPTY_MINUTES)}
        self.world = World(run, scale=SCALE, tags=TAGS, parameters=parameters, port=port)
        self._closing = ExitStack()
        wishes: dict[str, Callable[..., str]] = {"jobs": self.jobs, "interrupt": self.interrupt, "kill": self.kill}
        self.control = Control({**wishes, "away": self.away, "look": self.look})

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.world)
            self._workers = Workers(self.world.database, self.run / "workers", PACE)
            stack.callback(self._workers.close)
            self._source = JobSource(self.world.connect, self.world.journal, self._nudge)
            stack.callback(self._source.close)
            self._prepare()
            stack.callback(self.control.close)
            self.control.start()
            told = {"control_port": self.control.port, "endpoint": self.world.cloud.endpoint}
            (self.run / "lab.json").write_text(json.dumps(told), encoding="utf-8")
            self.world.start()
            self._closing = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def _prepare(self) -> None:
        """The application's own data, worker processes for instances, and the door for `sam local`."""
        payloads = Payloads(self.world.connect)
        payloads.create()
        payloads.close()
        with self.world.connect() as connection, connection.cursor() as cursor:
            for slug in self.workflows():
                cursor.execute("INSERT INTO workflows (name, slug, created_at) VALUES (%s, %s, NOW())", (slug, slug))
        self.world.cloud.groups.on_running = self._boot
        self.world.cloud.groups.on_warned = self._workers.warn
        self.world.cloud.groups.on_gone = self._workers.kill
        open_door(self.world)

    def narrate(self) -> None:
        """Tell on screen what happens, from now on."""
        narrator = Narrator(self.run, time.time())
        narrator.start()
        self._closing.callback(narrator.close)

    def workflows(self) -> list[str]:
        tags = [tag for group in self.world.fleets() for tag in group["Tags"]]
        return sorted({tag["Value"] for tag in tags if tag["Key"] == "WorkflowSlug"})

    def _boot(self, instance: str, _: str, tags: dict[str, str]) -> None:
        self._workers.start(instance, tags["WorkflowSlug"].split())

    def _nudge(self, workflow: str) -> None:
        self.world.put_event("bp.backend", "JobQueued", {"workflow_slug": workflow})

    # Wishes. Each gives the line to show; a mistake of the asker is a ValueError.

    def jobs(self, workflow: str, count: int = 1, seconds: float = 4.0, *, quiet: bool = False) -> str:
        if workflow not in self.workflows():
            raise ValueError(f"no workflow {workflow!r}: {', '.join(self.workflows())}")
        arrival = Arrival(0.0, "by hand", workflow, TENANT, seconds, nudged=not quiet)
        numbers = [self._source.submit(arrival) for _ in range(count)]
        if not quiet:
            self._nudge(workflow)
        return f"submitted {', '.join(map(str, numbers))}{'' if quiet else ', JobQueued sent'}"

    def interrupt(self, instance: str = "") -> str:
        chosen = self._chosen(instance)
        self.world.interrupt(chosen, NOTICE_SECONDS)
        return f"{chosen} is warned and will be gone in {NOTICE_SECONDS:.0f} s"

    def kill(self, instance: str = "") -> str:
        chosen = self._chosen(instance)
        self.world.kill(chosen)
        return f"{chosen} is gone"

    def away(self, seconds: float) -> str:
        self.world.database_away(seconds)
        return f"the database is away for {seconds:g} s"

    def look(self) -> str:
        lines = [f"{row['slug']:<20}{row['status']:<12}{row['jobs']}" for row in self._rows(QUEUE)] or ["no jobs yet"]
        for group in self.world.fleets():
            states = ", ".join(f"{one['InstanceId']} {one['LifecycleState']}" for one in group["Instances"])
            name, desired = group["AutoScalingGroupName"], group["DesiredCapacity"]
            lines.append(f"{name:<32}desired {desired}  {states or 'no instances'}")
        return "\n".join(lines)

    def _chosen(self, instance: str) -> str:
        if instance and instance not in self.world.instances():
            raise ValueError(f"no instance {instance!r} is there; `look` shows them")
        return instance or self._busy()

    def _busy(self) -> str:
        """A busy instance, else any that is in service."""
        there = [name for name, state in self.world.instances().items() if state == "InService"]
        busy = [row["worker_id"] for row in self._rows(BUSY) if row["worker_id"] in there]
        if not there:
            raise ValueError("no instance is in service")
        return str((busy or there)[0])

    def _rows(self, sql: str) -> list[dict[str, Any]]:
        with self.world.connect() as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())


def welcome(visit: Visit) -> str:
    """What a visitor may do, with the addresses of this run."""
    database, endpoint = visit.world.database, visit.world.cloud.endpoint
    ask, jobs = ".venv/bin/python -m lab.ask", f"jobs {visit.workflows()[-1]} 5"
    login = f"mariadb --protocol=tcp --host={database.host} --port={database.port} --user={database.root.username}"
    return f"""
The control plane runs; every fleet is at zero. In another terminal, in this directory:

  {ask} {jobs:<26} submit jobs
  {ask} {"interrupt":<26} Spot takes a busy instance
  {ask} {"kill":<26} an instance is gone without a word
  {ask} {"away 10":<26} the database is away for ten seconds
  {ask} {"look":<26} queue, groups, instances

  AWS        {endpoint} (any credentials), for instance
             aws --endpoint-url {endpoint} --region us-east-1 autoscaling describe-auto-scaling-groups
  database   MYSQL_PWD={database.root.password} {login} --ssl-ca={database.ca_file} bp
  records    {visit.run}/journal.jsonl, {visit.run}/logs/
  debugging  .venv/bin/sam local invoke ReconcileFunction -e events/reconcile_tick.json --env-vars events/local-env.json
             (docs/debugging.md)

Ctrl-C stops everything. What happens:
"""
