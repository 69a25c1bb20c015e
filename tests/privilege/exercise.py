"""A short life of a stage in which every function and machine does all it can do: `python -m tests.privilege.exercise`.

A process of its own, because the emulated account is global to one. What it leaves in the directory it is given:
`run/` is what any run leaves behind, `evidence/` what can be asked of a running stage, `markers.json` its secrets.
Nothing is scaled but times.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.backend import Backend
from lab.cloud import custom
from lab.cloud.groups import Pace
from lab.payloads import Payloads
from lab.workers import WorkerPace, Workers
from lab.world import Scale, World

from .evidence import Recording, collect, log_statements

VIDEO, SWAP = "image-to-video", "face-swap"
STAGE = "staging"
PATIENCE = 30.0
SCALE = Scale(minute=1.0, retries=0.005, pace=Pace(settle=0.1, launch=0.3, terminate=0.2, notice_death=0.2))
PACE = WorkerPace(boot=0.1, poll=0.4, heartbeat=1.0, registrations_per_minute=200, notice=60.0)
TAGS = {
    "fleet:scale-to-zero-minutes": "0.1",
    "fleet:drain-look-seconds": "1",
    "fleet:drain-limit-seconds": "10",
    "fleet:warmup-seconds": "20",
    "fleet:end-margin-seconds": "3",  # a look at a second each
}
HEARTBEATS = {(f"bp-{STAGE}-{name}", "RecordLifecycleActionHeartbeat") for name in ("reconcile", "spot-interruption")}
ABANDONED = """
INSERT INTO worker_audit_logs (worker_id, worker_identifier, event, metadata, created_at)
SELECT id, worker_id, 'fleet_drained', '{"reason": "idle"}', UTC_TIMESTAMP() - INTERVAL 100 SECOND
FROM comfy_ui_workers WHERE worker_id = %s
"""
APPLICATION = (
    "INSERT INTO workflows (name, slug, created_at) VALUES ('Video', 'image-to-video', NOW())",
    "INSERT INTO workflows (name, slug, created_at) VALUES ('Swap', 'face-swap', NOW())",
    "CREATE TABLE users (id int)",
    "CREATE TABLE tenant_pool_1.ai_jobs (id int)",
    "CREATE TABLE tenant_pool_2.token_wallets (id int)",
)


class Unheard(Exception):  # noqa: N818 - what happened
    """Something that had to come did not come in time; the text says what."""


class Exercise:
    """The scenes; each returns once its last effect can be seen."""

    def __init__(self, world: World, recording: Recording) -> None:
        self._world, self._recording = world, recording
        self._backend, self._payloads = Backend(world.connect), Payloads(world.connect)
        self._workers = Workers(world.database, world.run_dir / "workers", PACE)
        self._jobs, self._nudged_at = 0, 0.0

    def play(self) -> None:
        self._prepare()
        try:
            self.video_and_back_to_zero()
            self.interruption()
            self.by_hand()
            self.abandoned_drain()
            self.held_launches()
            self.new_image()
            self.nonsense()
            self.database_away()
            self.broken_secrets()
        finally:
            self._workers.close()

    def _prepare(self) -> None:
        self._payloads.create()
        for statement in APPLICATION:
            self._write(statement)
        self._keep_serving(SWAP)
        self._world.cloud.groups.on_running = self._boot
        self._world.cloud.groups.on_gone = self._workers.kill

    def _keep_serving(self, slug: str) -> None:
        """An hour's scale-to-zero window: the alarm of an empty queue, a second long here, finds an objection."""
        tag = {"Key": "fleet:scale-to-zero-minutes", "Value": "60", "PropagateAtLaunch": False}
        about = {"ResourceId": f"asg-{STAGE}-{slug}", "ResourceType": "auto-scaling-group"}
        self._world.cloud.client("autoscaling").create_or_update_tags(Tags=[tag | about])

    def _boot(self, instance: str, _: str, tags: dict[str, str]) -> None:
        self._workers.start(instance, [tags["WorkflowSlug"]])

    # Scenes.

    def video_and_back_to_zero(self) -> None:
        """The loop's first tick launches, the queue-has-jobs alarm nudges, the queue-empty alarm scales to zero."""
        job = self._submit(VIDEO, seconds=2.0)
        self._world.start()
        self._until(lambda: self._status(job) == "completed", "the video is made")
        self._until(lambda: self._rung(VIDEO) and not self._members(VIDEO), "the fleet goes to zero on its alarm")

    def interruption(self) -> None:
        """The backend nudges; Spot takes the busy instance, twice told; another account's instance goes too."""
        job = self._submit(SWAP, seconds=60.0)
        self._nudge()
        self._until(lambda: self._status(job) == "leased", "the swap is leased")
        self._world.interrupt(self._holder(job), notice_seconds=6.0, deliveries=2)
        self._warn("i-0123456789abcdef0")
        self._write("UPDATE lab.jobs SET seconds = 0.5")  # the replacement is done sooner
        self._until(lambda: "requeued" in self._audits(job), "the swap is requeued")
        self._until(lambda: self._status(job) == "completed", "the replacement makes the swap")
        self._until(lambda: self._count("comfy_ui_workers") == 1, "the row of the dead instance goes")

    def by_hand(self) -> None:
        """EC2 recommends to replace a busy instance; an operator ends it: its group waits until the job has ended."""
        job = self._submit(SWAP, seconds=8.0)
        self._nudge()
        self._until(lambda: self._status(job) == "leased", "the next swap is leased")
        busy = self._holder(job)
        self._world.put_event("aws.ec2", "EC2 Instance Rebalance Recommendation", {"instance-id": busy})
        self._until(lambda: ("bp-staging-spot-interruption", "CreateTags") in self._recording.called, "it is noted")
        by_name = {"InstanceId": busy, "ShouldDecrementDesiredCapacity": False}
        self._world.cloud.client("autoscaling").terminate_instance_in_auto_scaling_group(**by_name)
        self._until(lambda: self._nudged(self._recording.called >= HEARTBEATS), "the group is asked to wait, by both")
        self._until(lambda: self._status(job) == "completed", "the swap is made where it was begun")
        self._until(lambda: busy not in self._members(SWAP), "the group is answered")
        self._until(lambda: self._count("comfy_ui_workers") == 1, "the replacement registers, the old row goes")

    def abandoned_drain(self) -> None:
        """A drain of ours stands without an execution: reconcile asks what runs, and starts it again. The group's event
        is lost: reconcile answers its hook, too."""
        [instance] = self._members(SWAP)
        rule = self._rule("EC2 Instance-terminate Lifecycle Action")
        self._world.cloud.client("events").disable_rule(Name=rule)
        self._write("UPDATE comfy_ui_workers SET is_draining = 1 WHERE worker_id = %s", instance)
        self._write(ABANDONED, instance)
        self._until(lambda: self._nudged(not self._members(SWAP)), "the drain is picked up, the hook answered")
        self._world.cloud.client("events").enable_rule(Name=rule)

    def held_launches(self) -> None:
        """A breaker's hold on launches that nothing calls for any more: reconcile ends it."""
        group = {"AutoScalingGroupName": f"asg-{STAGE}-{SWAP}"}
        self._world.cloud.client("autoscaling").suspend_processes(
            **group, ScalingProcesses=["Launch", "AddToLoadBalancer"]
        )
        resumed = (f"bp-{STAGE}-reconcile", "ResumeProcesses")
        self._until(lambda: self._nudged(resumed in self._recording.called), "the group launches by itself again")

    def new_image(self) -> None:
        """A parameter changes, and a survey sees it too: the one instance that is always wanted is replaced."""
        self._always(SWAP, 1)
        self._until(lambda: self._registered(SWAP), "the wanted instance registers")
        [old] = self._members(SWAP)
        self._world.ship_image(SWAP, broken=True)  # workers of this world start on any image
        self._world.invoke("ami-rollout", {"step": "survey"})
        self._until(lambda: old not in self._members(SWAP) and self._registered(SWAP), "its replacement registers")
        self._always(SWAP, 0)

    def nonsense(self) -> None:
        """Every function is sent an event that it cannot read, and gives it up; so is a nudge among others."""
        names = [f"bp-{STAGE}-{name}" for name in FUNCTIONS]
        for name in names:
            self._world.cloud.functions.invoke_async(name, b'{"nonsense": true}')
        self._until(lambda: self._recording.given_up() >= set(names), "every nonsense ends in the queue")
        self._nudge(workflow_slug=7)
        self._until(lambda: f"bp-{STAGE}-reconcile" in self._recording.letter_writers(), "the nudge is kept")

    def database_away(self) -> None:
        """Blind: the error names the host, and must not name more."""
        back = self._world.database_away(1.0)
        time.sleep(0.3)
        self._nudge()
        back.join()
        log_statements(self._world)

    def broken_secrets(self) -> None:
        """A wrong password, a secret that is not JSON, one without a host: each named, none of them shown."""
        for name, wrong in self._recording.wrong_secrets(self._world.database.master_secret()):
            manager = self._world.cloud.client("secretsmanager")
            secret_id = f"/bp/{STAGE}/rds/{name}"
            right = manager.get_secret_value(SecretId=secret_id)["SecretString"]
            manager.put_secret_value(SecretId=secret_id, SecretString=wrong)
            self._create_pools()
            manager.put_secret_value(SecretId=secret_id, SecretString=right)

    def _create_pools(self) -> None:
        properties = {
            "ServiceToken": f"arn:aws:lambda:us-east-1:123456789012:function:bp-{STAGE}-tenant-pool-init",
            "ServiceTimeout": 30,
            "Pools": ["tenant_pool_1"],
            "FleetControlSecretId": f"/bp/{STAGE}/rds/fleet-control",
        }
        with custom.response_desk() as desk:
            try:
                custom.create(self._world.cloud.functions, desk, "Broken", "Custom::TenantPools", properties)
            except custom.CustomResourceError as refused:
                self._recording.refusals.append(str(refused))

    # What the scenes see and do.

    def _rung(self, slug: str) -> bool:
        """The alarm has what it needs to ring again: it has a third of the window before the loop does its work."""
        name = f"bp-{STAGE}-{slug}-queue-empty"
        self._world.cloud.client("cloudwatch").set_alarm_state(
            AlarmName=name, StateValue="OK", StateReason="To be judged anew"
        )
        return True

    def _submit(self, workflow: str, seconds: float) -> int:
        self._jobs += 1
        self._payloads.put("acme", self._jobs, seconds)
        return self._backend.submit(workflow, tenant="acme", tenant_job_id=self._jobs)

    def _nudge(self, workflow_slug: object = SWAP) -> None:
        self._world.put_event("bp.backend", "JobQueued", {"workflow_slug": workflow_slug})

    def _nudged(self, seen: bool) -> bool:
        """As it was seen; and if it was not, reconcile is asked to look, once a second."""
        if not seen and time.monotonic() - self._nudged_at > 1.0:
            self._nudged_at = time.monotonic()
            self._nudge()
        return seen

    def _rule(self, detail_type: str) -> str:
        rules = self._world.cloud.client("events").list_rules()["Rules"]
        [name] = [rule["Name"] for rule in rules if detail_type in rule.get("EventPattern", "")]
        return str(name)

    def _warn(self, instance: str) -> None:
        detail = {"instance-id": instance, "instance-action": "terminate"}
        self._world.put_event("aws.ec2", "EC2 Spot Instance Interruption Warning", detail)

    def _row(self, job: int) -> dict[str, Any]:
        with self._world.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT status, worker_id FROM ai_job_dispatches WHERE id = %s", (job,))
            return dict(cursor.fetchone() or {})

    def _status(self, job: int) -> str:
        return str(self._row(job)["status"])

    def _holder(self, job: int) -> str:
        return str(self._row(job)["worker_id"])

    def _audits(self, job: int) -> list[str]:
        with self._world.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT event FROM worker_audit_logs WHERE dispatch_id = %s", (job,))
            return [str(row["event"]) for row in cursor.fetchall()]

    def _write(self, statement: str, *values: object) -> None:
        with self._world.connect() as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)

    def _count(self, table: str) -> int:
        with self._world.connect() as connection, connection.cursor() as cursor:
            return int(cursor.execute(f"SELECT 1 FROM {table}"))  # noqa: S608 - a name of ours

    def _members(self, slug: str) -> list[str]:
        groups = [g for g in self._world.fleets() if g["AutoScalingGroupName"] == f"asg-{STAGE}-{slug}"]
        return [member["InstanceId"] for member in groups[0]["Instances"]]

    def _registered(self, slug: str) -> bool:
        names = self._members(slug)
        with self._world.connect() as connection, connection.cursor() as cursor:
            found = [cursor.execute("SELECT 1 FROM comfy_ui_workers WHERE worker_id = %s", (name,)) for name in names]
        return bool(found) and all(found)

    def _always(self, slug: str, size: int) -> None:
        groups = self._world.cloud.client("autoscaling")
        groups.update_auto_scaling_group(AutoScalingGroupName=f"asg-{STAGE}-{slug}", MinSize=size)

    @staticmethod
    def _until(seen: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not seen():
            if time.monotonic() > deadline:
                raise Unheard(f"not within {PATIENCE:.0f} s: {what}")
            time.sleep(0.1)


WATCHERS = ("reconcile", "publish-metrics", "scale-to-zero", "scale-in", "spot-interruption", "ami-rollout")
FUNCTIONS = (*WATCHERS, "tenant-pool-init", "fleet-secret-init", "ami-parameter-init")


def main(directory: Path) -> None:
    recording = Recording(directory)
    with (
        recording.of_answers(),
        World(directory / "run", STAGE, scale=SCALE, tags=TAGS, parameters={"ScaleToZeroMinutes": "1"}) as world,
    ):
        recording.watch(world)
        began = time.time()
        Exercise(world, recording).play()
        collect(world, recording, began)
    (directory / "markers.json").write_text(json.dumps(recording.markers), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
