"""A new image in the whole world: real functions, machines and workers, from the parameter to the fleet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lab.cloud import journal as journals
from lab.cloud.groups import Pace
from lab.workers import WorkerPace, Workers
from lab.world import Scale, World
from tests.lab.waiting import until

GROUP, PARAMETER = "asg-staging-image-to-video", "/bp/staging/ami/image-to-video"
TAGS = {"warmup-seconds": "8", "launch-grace-seconds": "4", "drain-look-seconds": "1", "idle-seconds": "3"}
PACE = Pace(settle=0.1, launch=0.5, terminate=0.3)


class Fleet:
    """Two instances are always wanted; those of an image in `broken` boot, and their worker never comes."""

    def __init__(self, world: World, workers: Workers) -> None:
        self.world, self.broken = world, set[str]()
        self._workers = workers
        world.cloud.groups.on_running = self._boot
        world.cloud.groups.on_gone = workers.kill

    def _boot(self, instance: str, group: str, tags: dict[str, str]) -> None:
        if self.image_of(instance) not in self.broken:
            self._workers.start(instance, [tags["WorkflowSlug"]])

    def image_of(self, instance: str) -> str:
        found = self.world.cloud.client("ec2").describe_instances(InstanceIds=[instance])
        return str(found["Reservations"][0]["Instances"][0]["ImageId"])

    def serving(self) -> list[str]:
        """Images of the members whose workers are registered and serve."""
        with self.world.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT worker_id FROM comfy_ui_workers WHERE is_draining = 0")
            registered = {row["worker_id"] for row in cursor.fetchall()}
        (group,) = [g for g in self.world.fleets() if g["AutoScalingGroupName"] == GROUP]
        members = {i["InstanceId"] for i in group["Instances"] if i["LifecycleState"] == "InService"}
        return sorted(self.image_of(name) for name in members & registered)

    def publish(self, image: str) -> None:
        self.world.cloud.client("ssm").put_parameter(Name=PARAMETER, Value=image, Type="String", Overwrite=True)

    def ended(self, version: int) -> str | None:
        """How this version's rollout ended; None as long as it runs."""
        found: list[dict[str, Any]] = [
            entry
            for entry in journals.read(self.world.run_dir / "journal.jsonl")
            if entry["kind"] == "execution" and entry["name"].startswith(f"{GROUP}-v{version}-")
        ]
        return next((entry["status"] for entry in found if entry["status"] != "RUNNING"), None)

    def images(self) -> list[str]:
        found = self.world.cloud.client("ec2").describe_images(Owners=["amazon"])["Images"]
        return [image["ImageId"] for image in found if image["Architecture"] == "x86_64"]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    tags = {f"fleet:{key}": value for key, value in TAGS.items()}
    with World(tmp_path, scale=Scale(minute=5, pace=PACE), tags=tags) as world:
        with world.connect() as connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO workflows (name, slug) VALUES ('v', 'image-to-video'), ('s', 'face-swap')")
        pace = WorkerPace(boot=0.2, poll=0.5, registrations_per_minute=60)
        with closing(Workers(world.database, tmp_path / "workers", pace)) as workers:
            fleet = Fleet(world, workers)
            limits = {"AutoScalingGroupName": GROUP, "MinSize": 2, "DesiredCapacity": 2}
            world.cloud.client("autoscaling").update_auto_scaling_group(**limits)
            world.start()
            until(lambda: len(fleet.serving()) == 2, 30)
            yield fleet


def test_a_fleet_comes_to_run_a_new_image_and_a_broken_one_costs_it_one_instance(fleet: Fleet) -> None:
    first = fleet.serving()[0]
    better, broken = [image for image in fleet.images() if image != first][:2]
    fleet.publish(better)
    assert until(lambda: fleet.ended(2), 90) == "SUCCEEDED"
    assert set(fleet.serving()) == {better}
    # A look that meets the moment of a termination launches one in its place. The one too many goes once it is idle.
    assert until(lambda: fleet.serving() == [better, better], 40)
    fleet.broken.add(broken)
    fleet.publish(broken)
    assert until(lambda: fleet.ended(3), 90) == "FAILED"
    assert fleet.serving() == [better], "one of two is out, and it stays at that"
