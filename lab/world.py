"""The world on one machine: a database, an AWS account, the deployed control plane, and what may befall them.

    with World(Path("build/demo"), scale=Scale(minute=5), tags={"fleet:warmup-seconds": "5"}) as world:
        world.cloud.groups.on_running = start_worker
        world.start()
        ...

Entering deploys everything and warms the functions; `start()` lets time run: schedules and alarms.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

from moto.ec2.models import ec2_backends

from lab.cloud import prerequisites
from lab.cloud.aws import Cloud
from lab.cloud.deploy import Deployment
from lab.cloud.emf import MetricLines
from lab.cloud.events import event, start_schedules
from lab.cloud.groups import Pace
from lab.cloud.journal import Journal
from lab.cloud.names import ACCOUNT, REGION
from lab.cloud.traces import TraceDaemon
from lab.iam.resolve import resolve_stacks
from lab.iam.roles import Stacks
from lab.mariadb import Connection, MariaDb, load_schema
from lab.render import render

ROOT = Path(__file__).parent.parent
LOOK_SECONDS = 0.5
"""How often metrics are taken from the functions' logs, and alarms evaluated."""


@dataclass(frozen=True)
class Scale:
    """Real seconds. What is not here keeps its true length, the tick of the control loop first of all.

    `minute` stands for one minute of the alarms and of the metrics' schedule; `cycle` for the fleet cycle's schedule;
    `retries` multiplies Lambda's waits (60 and 120 s) before it retries an asynchronous event.
    """

    minute: float = 60.0
    cycle: float = 60.0
    retries: float = 1.0
    pace: Pace = field(default_factory=Pace)


class World:
    """Everything, from `template.yaml` and a run directory.

    `parameters` go to the template; `tags` are set on every group after deployment, as an operator would tune it.
    Functions trace, as they do on Lambda. `stacks` are the deployed templates' resources as plain values.
    Without `schema` the central database is empty, as at a first deployment. `port` is the AWS endpoint's (0: any free
    one).
    """

    def __init__(
        self,
        run_dir: Path,
        stage: str = "staging",
        *,
        scale: Scale | None = None,
        tags: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
        schema: bool = True,
        port: int = 0,
    ) -> None:
        self.run_dir, self.stage, self.scale = run_dir.resolve(), stage, scale or Scale()
        self._tags, self._parameters, self._schema = dict(tags or {}), dict(parameters or {}), schema
        self.run_dir.mkdir(parents=True, exist_ok=True)
        for name in ("journal", "invocations"):
            (self.run_dir / f"{name}.jsonl").unlink(missing_ok=True)
        self.database = MariaDb(self.run_dir / "mariadb")
        self._broken_image = ""
        self.traces = TraceDaemon(self.run_dir / "traces.jsonl")
        self.stacks: Stacks = {}
        self.cloud = Cloud(self.run_dir, scale=self.scale.retries, pace=self.scale.pace, port=port)

    @property
    def journal(self) -> Journal:
        return self.cloud.journal

    # From nothing to a deployed stage.

    def open(self) -> None:
        self.traces.start()
        self.database.start()
        if self._schema:
            self.load_schema()
        self.cloud.start()
        self._deploy()
        self.tune(self._tags)

    def load_schema(self) -> None:
        """What the backend's migrations do."""
        with self.connect() as connection:
            load_schema(connection)

    def _deploy(self) -> None:
        image = prerequisites.publish_image(self.cloud)
        given = {"Stage": self.stage, "ApiBaseUrl": "http://127.0.0.1", "FirstImage": image, **self._parameters}
        template, known = self._render(given)
        self.stacks = resolve_stacks(template, known)
        self._broken_image = prerequisites.broken_image(self.cloud)
        deployment = Deployment(self.cloud, ROOT, self._overrides(), self.database.master_secret())
        deployment.create(f"bp-{self.stage}", template, known)

    @staticmethod
    def _render(given: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
        path = ROOT / "template.yaml"
        declared = path.read_text(encoding="utf-8")
        known = {key: value for key, value in given.items() if f"\n  {key}:" in declared}
        with patch.dict(os.environ, {"AWS_DEFAULT_REGION": REGION}):
            return render(path, known), known

    def _overrides(self) -> dict[str, str]:
        """What differs between Lambda and this machine."""
        return {
            "AWS_ENDPOINT_URL": self.cloud.endpoint,
            "DB_CA_FILE": str(self.database.ca_file),
            "PYTHONPATH": str(ROOT / "layers" / "fleet_control"),
            "AWS_XRAY_DAEMON_ADDRESS": self.traces.address,
        }

    def tune(self, values: Mapping[str, str]) -> None:
        """Set policy tags on every live group, as an operator may."""
        tags = [
            {
                "ResourceId": group["AutoScalingGroupName"],
                "ResourceType": "auto-scaling-group",
                "Key": key,
                "Value": value,
                "PropagateAtLaunch": False,
            }
            for group in self.fleets()
            for key, value in values.items()
        ]
        if tags:
            self.cloud.client("autoscaling").create_or_update_tags(Tags=tags)

    def start(self) -> None:
        """Let time run: schedules fire (at once for the first time), alarms are evaluated."""
        self._scale_metrics()
        self.cloud.alarms.minute = self.scale.minute
        self.cloud.alarms.start()
        self.cloud.timers.every(LOOK_SECONDS, MetricLines(self.run_dir / "logs", self.cloud.lock).collect)
        self.cloud.timers.every(LOOK_SECONDS, self.cloud.alarms.evaluate)
        pace = {"fleet-cycle": self.scale.cycle, "FleetCycle": self.scale.cycle}
        pace |= {"publish-metrics": self.scale.minute, "PublishMetrics": self.scale.minute}
        start_schedules(self.cloud.bus, self.cloud.timers, pace)

    def _scale_metrics(self) -> None:
        """The schedule tells the period it runs at, so that the windows of two publications meet and never overlap."""
        events = self.cloud.client("events")
        for target in events.list_targets_by_rule(Rule=f"bp-{self.stage}-publish-metrics")["Targets"]:
            template = json.loads(target["InputTransformer"]["InputTemplate"])
            scaled = json.dumps(template | {"period_seconds": max(1, round(self.scale.minute))})
            told = {"InputTransformer": target["InputTransformer"] | {"InputTemplate": scaled}}
            events.put_targets(Rule=f"bp-{self.stage}-publish-metrics", Targets=[target | told])

    # What may be looked at.

    def fleets(self) -> list[dict[str, Any]]:
        """The stage's groups as DescribeAutoScalingGroups shows them."""
        pages = self.cloud.client("autoscaling").get_paginator("describe_auto_scaling_groups")
        filters = [{"Name": "tag:Stage", "Values": [self.stage]}]
        return [group for page in pages.paginate(Filters=filters) for group in page["AutoScalingGroups"]]

    def instances(self) -> dict[str, str]:
        """Instance id → lifecycle state, of all fleets."""
        return {item["InstanceId"]: item["LifecycleState"] for group in self.fleets() for item in group["Instances"]}

    def zones(self, workflow: str) -> dict[str, str]:
        """Instance id → zone, of this fleet's instances in service."""
        [group] = [one for one in self.fleets() if one["AutoScalingGroupName"] == self._group(workflow)]
        return self._zones(group)

    @staticmethod
    def _zones(group: Mapping[str, Any]) -> dict[str, str]:
        there = [one for one in group["Instances"] if one["LifecycleState"] == "InService"]
        return {one["InstanceId"]: one["AvailabilityZone"] for one in there}

    def connect(self, **options: Any) -> Connection:
        """A session of the database's root on the central database."""
        return self.database.connect(**options)

    # What may happen.

    def interrupt(self, instance_id: str, notice_seconds: float, deliveries: int = 1) -> None:
        """Spot takes the instance back after the notice; the warning is delivered so many times."""
        self.cloud.groups.interrupt(instance_id, notice_seconds, deliveries)

    def kill(self, instance_id: str) -> None:
        """The instance is gone at once, without warning."""
        self.cloud.groups.kill(instance_id)

    def recommend(self, instance_ids: Iterable[str]) -> None:
        """EC2 recommends to replace these; their group launches the replacements first."""
        for instance_id in instance_ids:
            self.cloud.groups.recommend(instance_id)

    def reclaim_zone(self, zone: str, notice_seconds: float, deliveries: int = 1) -> list[str]:
        """Spot takes back every instance of a zone at once and has no capacity left there; who was warned."""
        self.cloud.groups.market.close_zone(zone)
        serving = [self._zones(group) for group in self.fleets()]
        there = [instance for zones in serving for instance, its_zone in zones.items() if its_zone == zone]
        for instance_id in there:
            self.interrupt(instance_id, notice_seconds, deliveries)
        return there

    def reopen_zone(self, zone: str) -> None:
        self.cloud.groups.market.open_zone(zone)

    def refuse_launches(self, workflow: str, code: str) -> None:
        """Every launch of this fleet fails with AWS's code until `allow_launches`."""
        self.cloud.groups.market.refuse(self._group(workflow), code)
        self.journal.write("market", group=self._group(workflow), state="dry", code=code)

    def allow_launches(self, workflow: str) -> None:
        self.cloud.groups.market.allow(self._group(workflow))
        self.journal.write("market", group=self._group(workflow), state="open")

    def ship_image(self, workflow: str, *, broken: bool) -> None:
        """The image of all later launches; instances of a broken one run, and nothing on them ever registers."""
        prerequisites.ship_image(self.cloud, self.stage, workflow, broken=broken)
        self.journal.write("image", group=self._group(workflow), state="broken" if broken else "good")

    def boots(self, instance_id: str) -> bool:
        """Whether the image of the instance is one on which a worker starts."""
        with self.cloud.lock:
            return bool(ec2_backends[ACCOUNT][REGION].get_instance(instance_id).image_id != self._broken_image)

    def _group(self, workflow: str) -> str:
        return f"asg-{self.stage}-{workflow}"

    def backend_away(self, seconds: float) -> threading.Thread:
        """No worker gets an answer for so many seconds; the database is there. Returns at once."""

        def away() -> None:
            self.journal.write("backend", state="away", seconds=seconds)
            with self.database.locked_out(self.database.backend):
                time.sleep(seconds)
            self.journal.write("backend", state="back")

        thread = threading.Thread(target=away, daemon=True)
        thread.start()
        return thread

    def database_away(self, seconds: float) -> threading.Thread:
        """The database is unreachable for so many seconds; returns at once with the thread that brings it back."""
        thread = threading.Thread(target=self.database.stop_for, args=(seconds,), daemon=True)
        self.journal.write("database", state="away", seconds=seconds)
        thread.start()
        return thread

    def put_event(self, source: str, detail_type: str, detail: Mapping[str, Any]) -> None:
        """An event on the default bus, as the backend puts its `bp.backend` / `JobQueued`."""
        self.cloud.bus.put(event(source, detail_type, detail))

    def invoke(self, function: str, payload: Mapping[str, Any]) -> Any:
        """Call a function by its short name (`reconcile`) and wait. Raises RuntimeError with the function's error."""
        result = self.cloud.functions.invoke(f"bp-{self.stage}-{function}", json.dumps(dict(payload)).encode())
        if result.error:
            raise RuntimeError(result.payload.decode())
        return json.loads(result.payload)

    def close(self) -> None:
        self.cloud.close()
        self.database.stop()
        self.traces.close()

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
