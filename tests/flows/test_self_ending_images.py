"""A broken image whose instances end themselves: their group launches others by itself, at once, and the breaker bounds
that, too."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from fleet_control.act.activities import Activity
from fleet_control.act.asg import GroupInstance
from fleet_control.act.ec2 import Ec2Instance
from fleet_control.flows.reconcile import Ports, reconcile

from .fakes import NOW, Stage, group_name, ports_of

GROUP = group_name("image-to-video")
HEALTH = "an instance was taken out of service in response to a user health-check"


class SelfEnding:
    """A group by the second. Instances of its image report themselves unhealthy after `lives` seconds, until `mended`;
    of those launched later each registers after 120 s."""

    def __init__(self, stage: Stage, lives: int, mended: int = 10**9) -> None:
        self.stage, self.lives, self.mended = stage, lives, mended
        self.launched: list[datetime] = []
        self.opened: datetime | None = None

    @property
    def second(self) -> int:
        return int((self.stage.now - NOW).total_seconds())

    def pass_by(self, seconds: int) -> None:
        for _ in range(seconds):
            self._group_acts()
            if self.second % 10 == 0:
                result = reconcile(ports_of(self.stage, Ports, worker_limit=50), "Tick")
                if result.breakers and self.opened is None:
                    self.opened = self.stage.now
            self.stage.now += timedelta(seconds=1)
            for worker in self.stage.workers.values():
                worker["last_seen_at"] = self.stage.now

    def _group_acts(self) -> None:
        for name, machine in list(self.stage.instances.items()):
            age = (self.stage.now - machine.launched_at).total_seconds()
            good = (machine.launched_at - NOW).total_seconds() >= self.mended
            if good and age == 120:
                self._register(name)
            elif not good and age == self.lives:
                self._end(name)
        group = self.stage.groups[GROUP]
        if "Launch" not in group.suspended:
            for _ in range(group.desired - len(group.instances)):
                self._launch()

    def _launch(self) -> None:
        name = f"i-{len(self.launched) + 1}"
        self.launched.append(self.stage.now)
        group = self.stage.groups[GROUP]
        self.stage.groups[GROUP] = replace(group, instances=(*group.instances, GroupInstance(name, "InService")))
        self.stage.instances[name] = Ec2Instance(name, "running", self.stage.now)
        self._note(Activity(True, name, "Successful", "", "", self.stage.now))

    def _end(self, name: str) -> None:
        group = self.stage.groups[GROUP]
        left = tuple(member for member in group.instances if member.id != name)
        self.stage.groups[GROUP] = replace(group, instances=left)
        self.stage.instances[name] = replace(self.stage.instances[name], state="terminated")
        self._note(Activity(False, name, "Successful", "", HEALTH, self.stage.now))

    def _register(self, name: str) -> None:
        group = self.stage.groups[GROUP]
        self.stage.groups[GROUP] = replace(group, instances=group.instances[:-1])
        self.stage.instance(name, last_seen_at=self.stage.now, created_at=self.stage.now, active_at=self.stage.now)
        self.stage.registrations[name] = self.stage.now

    def _note(self, activity: Activity) -> None:
        self.stage.activities.setdefault(GROUP, []).insert(0, activity)


def fleet(min_size: int, jobs: int, lives: int, **given: int) -> SelfEnding:
    stage = Stage()
    stage.fleet(desired=min_size)
    stage.groups[GROUP] = replace(stage.groups[GROUP], min_size=min_size)
    for _ in range(jobs):
        stage.job()
    return SelfEnding(stage, lives, **given)


@pytest.mark.parametrize("lives", [45, 60, 133, 400])
@pytest.mark.parametrize(("min_size", "jobs"), [(1, 0), (1, 1), (0, 1), (1, 8), (0, 3)])
def test_at_most_four_are_launched_before_the_breaker_opens_and_one_a_period_after(
    min_size: int, jobs: int, lives: int
) -> None:
    night = fleet(min_size, jobs, lives)
    night.pass_by(3 * 3600)
    assert night.opened is not None
    first = -(-jobs // 2)
    before = [at for at in night.launched if at <= night.opened]
    after = [at for at in night.launched if at > night.opened]
    # Of a first burst that ends in one second the group has launched as many again before anybody could look.
    assert len(before) <= (4 if first <= 1 else 2 * first)
    assert after, "a probe finds out when the image is good again"
    starts = [night.opened, *after]
    assert min((two - one).total_seconds() for one, two in zip(starts, after, strict=False)) >= 599


@pytest.mark.parametrize("min_size", [0, 1])
def test_once_the_image_is_mended_the_group_launches_by_itself_again(min_size: int) -> None:
    night = fleet(min_size, 6, 60, mended=2400)
    night.pass_by(2400 + 900)
    group = night.stage.groups[GROUP]
    assert "Launch" not in group.suspended
    assert len(night.stage.workers) == 3 == group.desired


def test_an_operator_who_stops_launches_is_not_overruled() -> None:
    night = fleet(1, 0, 60)
    night.stage.groups[GROUP] = replace(night.stage.groups[GROUP], suspended=frozenset({"AZRebalance", "Launch"}))
    night.pass_by(1800)
    assert night.stage.made("resume_launches") == []
    assert night.launched == []


def test_nor_is_one_who_stops_them_before_the_breaker_opens() -> None:
    night = fleet(0, 8, 133)
    night.pass_by(100)
    night.stage.groups[GROUP] = replace(night.stage.groups[GROUP], suspended=frozenset({"AZRebalance", "Launch"}))
    night.pass_by(3600)
    assert night.opened is not None
    assert night.stage.groups[GROUP].suspended == {"AZRebalance", "Launch"}
    assert len(night.launched) == 4


def test_nor_is_one_who_has_once_resumed_half_of_what_was_suspended_by_us() -> None:
    """`resume-processes … --scaling-processes Launch`, as the guide has it, leaves our mark. What somebody suspends
    another day is not ours for it."""
    night = fleet(0, 0, 60)
    for suspended in ({"AddToLoadBalancer"}, {"Launch"}):
        group = night.stage.groups[GROUP]
        night.stage.groups[GROUP] = replace(group, suspended=group.suspended | suspended)
        night.pass_by(30)
    assert night.stage.groups[GROUP].suspended == {"AZRebalance", "Launch"}


def test_a_probe_that_the_group_has_overtaken_waits_suspended_for_the_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    night = fleet(0, 3, 60)
    while night.opened is None:
        night.pass_by(10)
    with monkeypatch.context() as overtaken:
        overtaken.setattr("fleet_control.flows.reconcile.still_right", lambda *_, **__: None)
        night.pass_by(900)
    assert night.stage.made("resume_launches") == []
    night.pass_by(20)
    assert len(night.stage.made("resume_launches")) == 1
