"""Nights full of trouble, each from its seed: whatever happens, once all is well again everything comes to its end.

Every event is lost: the looks alone have to find what is true. One or two fleets, ten seconds a step; instances boot,
fail, work, die of Spot or by themselves; images break, AWS refuses, looks and machines die half-way, the database and
the backend go away.
"""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fleet_control.act.activities import Activity
from fleet_control.act.asg import GroupInstance
from fleet_control.act.ec2 import Ec2Instance
from fleet_control.errors import Blind, DatabaseUnavailable, FleetControlError
from fleet_control.flows import reconcile as loop
from fleet_control.flows import scale_in as down
from fleet_control.messages.tasks import parse_scale_in

from .fakes import Stage, group_name, ports_of
from .fakes_of_aws import FakeGroups

SLUGS = ("wf-a", "wf-b")
TICK, NIGHT, BOUND = 10, 2_400, 1_800
MOST_WASTED = 12
"""Launches of a broken image, of one fleet in one of these nights: without the breaker there would be 25."""
MINUTES: dict[str, Any] = {
    "warmup_seconds": "60",
    "launch_grace_seconds": "60",
    "probe_seconds": "120",
    "silent_seconds": "120",
    "idle_seconds": "20",
    "scale_to_zero_minutes": "2",
    "job_timeout_seconds": "600",
}
OF_DATABASE = {"now", "live", "fleet", "one", "waiting", "drain", "undrain", "commit_drain", "requeue", "remove"}
OF_AWS = {"groups", "group", "activities", "not_running", "lookup", "running"}
CHANGES = {"set_desired", "hold_launches", "resume_launches", "start", "terminate", "drain", "requeue", "commit_drain"}


class Dies(BaseException):
    """Whoever made the call is cut off before it is answered."""


class Troubled(Stage):
    rng: random.Random
    trouble, away, blind = True, False, False

    def call(self, *what: Any) -> None:
        if what[0] in OF_DATABASE and self.away:
            raise DatabaseUnavailable("away")
        if what[0] in OF_AWS and self.blind:
            raise Blind("throttled")
        if self.trouble and what[0] in CHANGES and self.rng.random() < 0.03:
            raise Dies


class Groups(FakeGroups):
    night: Night

    def set_desired(self, group: str, desired: int) -> None:
        found = self._stage.groups[group]
        assert found.min_size <= desired <= found.max_size
        super().set_desired(group, desired)

    def terminate(self, instance_id: str, *, decrement: bool) -> bool:
        (group,) = (one for one in self._stage.groups.values() if instance_id in {i.id for i in one.instances})
        assert not decrement or group.desired > group.min_size, "AWS would refuse it"
        assert not self.night.is_at_work(instance_id), "nobody kills a busy worker"
        return super().terminate(instance_id, decrement=decrement)


class Night:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.stage, self.second = Troubled(), 0
        self.stage.rng = self.rng
        self.slugs = SLUGS[: self.rng.choice([1, 1, 2])]
        for slug in self.slugs:
            name = self.stage.fleet(slug, **MINUTES)
            low = self.rng.choice([0, 0, 1])
            self.stage.groups[name] = replace(self.stage.groups[name], min_size=low, desired=low, max_size=4)
        self.broken: dict[str, float] = dict.fromkeys(self.slugs, 0.0)
        """Instances launched now end themselves after so many seconds; 0: they are good."""
        self.dry, self.backend_away = False, False
        self.jobs: dict[str, tuple[int, str, int]] = {}
        self.lives: dict[str, float] = {}
        self.wasted = dict.fromkeys(self.slugs, 0)
        self.frozen: set[str] = set()
        self.steps: dict[str, str] = {}
        groups = Groups(self.stage)
        groups.night = self
        self.looks = ports_of(self.stage, loop.Ports, worker_limit=50, groups=groups)
        self.machine = ports_of(self.stage, down.Ports, groups=groups)

    def is_at_work(self, name: str) -> bool:
        if name not in self.jobs or self.stage.instances[name].state != "running":
            return False
        row = self.stage.dispatches[self.jobs[name][0]]
        return bool(row["lease_token"] == self.jobs[name][1] and row["lease_expires_at"] > self.stage.now)

    def pass_by(self) -> None:
        self.second += TICK
        self.stage.now += timedelta(seconds=TICK)
        self._happens()
        for slug in self.slugs:
            self._group(slug)
        for name in list(self.stage.workers):
            self._worker(name)
        with suppress(Dies):
            loop.reconcile(self.looks, "Tick")
        for execution in sorted(self.stage.running):
            with suppress(Dies, FleetControlError):
                self._step(execution)

    def _happens(self) -> None:
        if not self.stage.trouble:
            return
        for slug in self.slugs:
            if self._chance(0.04):
                self._job(slug)
            if self._chance(0.01):
                self.broken[slug] = 0 if self.broken[slug] else self.rng.choice([40.0, 70.0, 10_000.0])
        for what, odds in (("dry", 0.02), ("backend_away", 0.01)):
            setattr(self, what, not getattr(self, what) if self._chance(odds) else getattr(self, what))
        self.stage.away, self.stage.blind = self._chance(0.05), self._chance(0.05)
        for execution in sorted(self.stage.running):
            if self._chance(0.03):
                self.stage.running.discard(execution)

    def _chance(self, odds: float) -> bool:
        return self.rng.random() < odds

    def _job(self, slug: str) -> None:
        self.stage.job(slug, created_at=self.stage.now, updated_at=self.stage.now)

    def _group(self, slug: str) -> None:
        name = group_name(slug)
        for member in self.stage.groups[name].instances:
            self._member(name, slug, member)
        group = self.stage.groups[name]
        missing = 0 if "Launch" in group.suspended else group.desired - group.existing
        for _ in range(missing):
            self._launch(name, slug)

    def _launch(self, name: str, slug: str) -> None:
        if self.dry:
            self._told(name, Activity(True, None, "Failed", "no Spot capacity", "", self.stage.now))
            return
        new = f"i-{len(self.stage.instances) + 1:04}"
        group = self.stage.groups[name]
        self.stage.groups[name] = replace(group, instances=(*group.instances, GroupInstance(new, "InService")))
        self.stage.instances[new] = Ec2Instance(new, "running", self.stage.now)
        self.lives[new] = self.broken[slug]
        self.wasted[slug] += self.broken[slug] > 0
        self._told(name, Activity(True, new, "Successful", "", "", self.stage.now))

    def _member(self, name: str, slug: str, member: GroupInstance) -> None:
        one = self.stage.instances[member.id]
        age = (self.stage.now - one.launched_at).total_seconds()
        ends = 0 < self.lives[one.id] <= age or member.lifecycle == "Terminating"
        if one.state == "terminated":
            group = self.stage.groups[name]
            left = tuple(other for other in group.instances if other.id != one.id)
            self.stage.groups[name] = replace(group, instances=left)
            self._told(name, Activity(False, one.id, "Successful", "", "", self.stage.now))
        elif ends or (self.stage.trouble and self._chance(0.004)):
            why = "" if ends else "Server.SpotInstanceTermination"
            self.stage.instances[one.id] = replace(one, state="terminated", why=why)
        elif age >= 40 and not self.lives[one.id] and one.id not in self.stage.registrations and not self._cut_off:
            self.stage.registrations[one.id] = self.stage.now
            row = {"id": int(one.id[2:]), "worker_id": one.id, "is_approved": 1, "is_draining": 0, "current_load": 0}
            seen = dict.fromkeys(("last_seen_at", "created_at", "active_at"), self.stage.now)
            self.stage.workers[one.id] = row | seen | {"slug": slug}

    def _told(self, name: str, activity: Activity) -> None:
        self.stage.activities.setdefault(name, []).insert(0, activity)

    @property
    def _cut_off(self) -> bool:
        return self.backend_away or self.stage.away

    def _worker(self, name: str) -> None:
        row = self.stage.workers[name]
        if self.stage.instances[name].state != "running" or name in self.frozen or self._cut_off:
            return
        if self.stage.trouble and self._chance(0.002):
            self.frozen.add(name)
            return
        row["last_seen_at"] = self.stage.now
        if name in self.jobs and self.jobs[name][2] <= self.second:
            dispatch, token, _ = self.jobs.pop(name)
            if self.stage.dispatches[dispatch]["lease_token"] == token:
                self.stage.dispatches[dispatch] |= {"status": "completed", "updated_at": self.stage.now}
        elif name not in self.jobs and not row["is_draining"]:
            self._lease(name, row)

    def _lease(self, name: str, row: dict[str, Any]) -> None:
        rows = [r for r in self.stage.dispatches.values() if self.stage.slugs[r["workflow_id"]] == row["slug"]]
        waits = [r for r in rows if r["status"] == "queued" or self._has_run_out(r)]
        job = next((r for r in waits if r["attempts"] < 3), None)
        if job is None:
            return
        token, ends = f"{name}-{self.second}", self.stage.now + timedelta(seconds=900)
        held = {"status": "leased", "worker_id": name, "lease_token": token, "lease_expires_at": ends}
        job |= held | {"attempts": job["attempts"] + 1, "updated_at": self.stage.now}
        row["active_at"] = self.stage.now
        if self.stage.trouble and self._chance(0.05):
            return  # the answer is lost: the worker polls on and knows of nothing
        self.jobs[name] = (job["id"], token, self.second + self.rng.choice([20, 60, 200]))

    def _has_run_out(self, row: dict[str, Any]) -> bool:
        return bool(row["status"] == "leased" and row["lease_expires_at"] <= self.stage.now)

    def _step(self, execution: str) -> None:
        task = parse_scale_in({"step": self.steps.get(execution, "look"), **self.stage.executions[execution]})
        answer: Any = down.scale_in(self.machine, task)
        self.stage.executions[execution] = {"drain": answer["drain"]}
        self.steps[execution] = "look" if answer["next"] == "wait" else answer["next"]
        if answer["next"] == "done":
            self.stage.running.discard(execution)

    def all_is_well(self) -> None:
        self.stage.trouble = self.stage.away = self.stage.blind = self.dry = self.backend_away = False
        self.broken = dict.fromkeys(self.slugs, 0.0)
        for slug in self.slugs:
            self._job(slug)

    def is_over(self) -> bool:
        served = all(job["status"] == "completed" for job in self.stage.dispatches.values())
        groups = self.stage.groups.values()
        rest = all(group.desired == group.min_size == len(group.instances) for group in groups)
        rows = self.stage.workers.keys() <= {member.id for group in groups for member in group.instances}
        return served and rest and rows and not any("Launch" in group.suspended for group in groups)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_has_happened_every_job_is_done_and_every_fleet_at_rest_in_the_end(seed: int) -> None:
    night = Night(seed)
    while night.second < NIGHT:
        night.pass_by()
    assert max(night.wasted.values()) <= MOST_WASTED
    night.all_is_well()
    while not night.is_over():
        night.pass_by()
        assert night.second < NIGHT + BOUND
