"""The breaker as a table, and a night with a broken image: how many instances it costs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from fleet_control.decide.breaker import Breaker, breaker
from fleet_control.decide.capacity import capacity
from fleet_control.decide.launches import Ended, Launch, Registrations, asks_for_history, history
from fleet_control.decide.model import Fleet, Instance, LaunchHistory
from fleet_control.decide.plan import FleetPlan, plan
from fleet_control.decide.standing import standings
from hypothesis import given
from hypothesis import strategies as st

from tests.unit import build as b


def failed(number: int, *, opened: float | None = None, tried: float | None = None) -> LaunchHistory:
    opened_at = None if opened is None else b.ago(opened)
    return LaunchHistory(number, opened_at=opened_at, attempted_at=None if tried is None else b.ago(tried))


@pytest.mark.parametrize(
    ("launches", "booting", "more", "is_open"),
    [
        pytest.param(failed(0), 0, None, False, id="nothing has failed: as many as are wanted"),
        pytest.param(failed(1), 0, 2, False, id="one has failed: two more may"),
        pytest.param(failed(1), 1, 1, False, id="what boots may fail, too"),
        pytest.param(failed(2), 4, 0, False, id="enough are under way"),
        pytest.param(failed(3, opened=10, tried=610), 0, 0, True, id="three in a row: open"),
        pytest.param(failed(3, opened=599, tried=1200), 0, 0, True, id="within a period of the opening: no probe"),
        pytest.param(failed(3, opened=600, tried=1200), 0, 1, True, id="a period after the opening: one probe"),
        pytest.param(failed(4, opened=5000, tried=599), 0, 0, True, id="within a period of the last probe: none"),
        pytest.param(failed(4, opened=5000, tried=600), 0, 1, True, id="a period after the last probe: the next"),
        pytest.param(failed(4, opened=5000, tried=700), 1, 0, True, id="while a probe boots: no other"),
    ],
)
def test_how_many_more_may_be_launched(launches: LaunchHistory, booting: int, more: int | None, is_open: bool) -> None:
    found = breaker(launches, b.policy(), booting, b.NOW)
    assert (found.launches, found.is_open) == (more, is_open)


@pytest.mark.parametrize(
    ("allowed", "existing", "target", "within"),
    [(None, 0, 7, 7), (0, 2, 7, 2), (1, 2, 7, 3), (1, 2, 1, 1)],
)
def test_within_the_breaker(allowed: int | None, existing: int, target: int, within: int) -> None:
    assert Breaker(allowed).within(existing, target) == within


OPEN = failed(3, opened=10, tried=610)
DUE = failed(3, opened=600, tried=1200)


@pytest.mark.parametrize(
    ("fleet", "desired", "rule"),
    [
        pytest.param(b.fleet(desired=4, queued=8, launches=OPEN), 0, "lower", id="open: desired down to what serves"),
        pytest.param(
            b.fleet(b.busy("i-1"), desired=4, queued=8, launches=OPEN),
            1,
            "lower",
            id="open: who serves goes on serving",
        ),
        pytest.param(b.fleet(queued=8, launches=OPEN), None, "breaker", id="open: nothing is launched"),
        pytest.param(b.fleet(queued=8, launches=DUE), 1, "probe", id="a probe is due: one"),
        pytest.param(b.fleet(b.busy("i-1"), queued=8, launches=DUE), 2, "probe", id="a probe beside who serves"),
        pytest.param(b.fleet(launches=DUE), None, "steady", id="nobody is wanted: no probe"),
        pytest.param(b.fleet(queued=8, launches=failed(1)), 2, "raise", id="one has failed: no more than two others"),
        pytest.param(b.fleet(queued=8, launches=OPEN, min_size=1, desired=1), None, "breaker", id="never below min"),
    ],
)
def test_the_plan_of_a_fleet_whose_launches_fail(fleet: Fleet, desired: int | None, rule: str) -> None:
    found = plan(b.observation(fleet), 50).fleets[0]
    assert (found.desired, found.rule) == (desired, rule)


@pytest.mark.parametrize(
    ("fleet", "hold", "resume"),
    [
        pytest.param(b.fleet(queued=8, launches=OPEN), True, False, id="open: the group must not launch by itself"),
        pytest.param(b.fleet(queued=8, launches=OPEN, launches_held=True), False, False, id="it does not already"),
        pytest.param(
            b.fleet(b.booting("i-1"), b.booting("i-2"), queued=8, launches=failed(1)),
            True,
            False,
            id="enough are under way to open it",
        ),
        pytest.param(b.fleet(queued=8, launches=failed(1)), False, False, id="two more may"),
        pytest.param(b.fleet(queued=8, launches=DUE, launches_held=True), False, True, id="a probe is due"),
        pytest.param(b.fleet(b.idle("i-1"), launches_held=True), False, True, id="one has registered"),
        pytest.param(b.fleet(queued=8), False, False, id="nothing has failed"),
        pytest.param(b.fleet(mark_left=True), False, True, id="half of it is resumed already"),
        pytest.param(b.fleet(queued=8, launches=OPEN, mark_left=True), True, False, id="half of it, too early"),
        pytest.param(
            b.fleet(queued=8, launches=OPEN, launches_stopped=True), False, False, id="open, but stopped by an operator"
        ),
        pytest.param(
            b.fleet(queued=8, launches=DUE, launches_stopped=True), False, False, id="who is not overruled for a probe"
        ),
    ],
)
def test_while_nothing_more_may_be_launched_the_group_does_not_either(fleet: Fleet, hold: bool, resume: bool) -> None:
    found = plan(b.observation(fleet), 50).fleets[0]
    assert (found.hold_launches, found.resume_launches) == (hold, resume)


def test_that_somebody_else_has_stopped_launches_is_told() -> None:
    found = plan(b.observation(b.fleet(desired=2, queued=4, launches_stopped=True)), 50).fleets[0]
    assert "somebody else has suspended its group's process Launch" in found.reason


def test_an_open_breaker_is_told_with_its_next_probe() -> None:
    found = plan(b.observation(b.fleet(queued=2, launches=OPEN)), 50).fleets[0]
    assert found.breaker_open
    assert found.reason.endswith(
        "breaker open: 3 launches in a row never registered; next probe in 590 s, "
        "and its group launches nothing by itself"
    )


def test_a_fleet_whose_launches_cannot_be_read_keeps_its_capacity_and_its_share_of_the_limit() -> None:
    blind = b.fleet(name="a", queued=20, desired=3, launches=LaunchHistory(unread="DescribeScalingActivities failed"))
    decided = {p.fleet: p for p in plan(b.observation(blind, b.fleet(name="b", queued=20)), 10).fleets}
    assert (decided["a"].rule, decided["a"].desired, decided["b"].desired) == ("hold", None, 7)
    assert decided["a"].reason == "DescribeScalingActivities failed"


@dataclass
class BrokenImage:
    """A group whose instances never register, by the second; what is overdue goes a minute after it was told to."""

    fleet: Fleet
    now: datetime = b.NOW
    launched: list[datetime] = field(default_factory=list)
    launches: list[Launch] = field(default_factory=list)
    watched: dict[str, tuple[datetime, bool]] = field(default_factory=dict)
    opened: datetime | None = None

    def pass_by(self, seconds: int, tick: int = 10) -> None:
        for _ in range(0, seconds, tick):
            self.look()
            self.now += timedelta(seconds=tick)

    def look(self) -> FleetPlan:
        seen = self.fleet
        if asks_for_history(seen, capacity(seen, self.now)):
            found = history(self.launches, seen, standings(seen, self.now), Registrations({}), self.now)
            seen = replace(seen, launches=found)
        decided = plan(replace(b.observation(seen), now=self.now), 50).fleets[0]
        if decided.breaker_open and self.opened is None:
            self.opened = self.now
        if decided.desired is not None:
            self.fleet = replace(self.fleet, desired=decided.desired)
        for late in decided.overdue:
            self.watched.setdefault(late.instance_id, (self.now, late.replace))
        self._group_acts()
        return decided

    def _group_acts(self) -> None:
        for name, (since, keeps) in list(self.watched.items()):
            if self.now >= since + timedelta(seconds=60):
                self._terminate(name, keeps)
        while len(self.fleet.instances) < self.fleet.desired:
            self._launch()

    def _terminate(self, name: str, keeps: bool) -> None:
        del self.watched[name]
        left = tuple(i for i in self.fleet.instances if i.id != name)
        self.fleet = replace(self.fleet, instances=left, desired=self.fleet.desired - (not keeps))
        ended = Ended(self.now, "taken out of service in response to a user request")
        self.launches = [replace(one, ended=ended) if one.instance_id == name else one for one in self.launches]

    def _launch(self) -> None:
        name = f"i-{len(self.launched) + 1}"
        self.launched.append(self.now)
        self.launches.insert(0, Launch(self.now, name))
        self.fleet = replace(self.fleet, instances=(*self.fleet.instances, Instance(name, "InService", self.now)))


@given(wanted=st.integers(1, 10), min_size=st.integers(0, 2), tick=st.sampled_from([5, 10, 60]))
def test_a_broken_image_costs_four_launches_and_then_one_a_period(wanted: int, min_size: int, tick: int) -> None:
    night = BrokenImage(b.fleet(queued=2 * wanted, desired=min_size, min_size=min_size))
    night.pass_by(4 * 3600, tick)
    assert night.opened is not None
    before = [at for at in night.launched if at <= night.opened]
    after = [at for at in night.launched if at > night.opened]
    # Straight from 0 to N: of a first burst nobody can know. Nothing is added to it.
    assert len(before) <= max(4, wanted, min_size)
    assert after, "a probe finds out when the image is good again"
    starts = [night.opened, *after]
    assert all((two - one).total_seconds() >= 600 for one, two in zip(starts, after, strict=False))


@given(st.lists(st.integers(0, 1200), min_size=1, max_size=4).map(sorted))
def test_jobs_that_trickle_in_on_a_broken_image_cost_no_more(arrivals: list[int]) -> None:
    night = BrokenImage(b.fleet(queued=0))
    for second in range(0, 3600, 10):
        night.fleet = replace(night.fleet, queued=2 * sum(at <= second for at in arrivals))
        night.pass_by(10)
    assert night.opened is not None
    assert sum(at <= night.opened for at in night.launched) <= 4


def test_when_the_queue_empties_nothing_more_is_launched() -> None:
    night = BrokenImage(b.fleet(queued=4))
    night.pass_by(3600)
    night.fleet = replace(night.fleet, queued=0)
    count = len(night.launched)
    night.pass_by(3600)
    assert (len(night.launched), night.fleet.desired, night.fleet.instances) == (count, 0, ())
