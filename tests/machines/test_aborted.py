"""An execution of `fleet_cycle` or `ami_rollout` is aborted at any of its states, and carried on within 90 s.

Of `scale_in` and `spot_interruption` the same is held in tests/flows/test_machines_that_die.py and test_spot_lives.py.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fleet_control.act.images import ParameterImage
from fleet_control.flows import ami_rollout
from fleet_control.flows import reconcile as loop
from fleet_control.messages.rollout import parse_rollout
from fleet_control.messages.tasks import RolloutTask

from tests.flows.fakes import NOW, Stage, ago, ports_of
from tests.flows.rolling import GROUP, SLUG, Account

from .conftest import Machines, Run, states_of

PICK_UP = 90
CYCLE, ROLLOUT = "fleet_cycle.asl.json", "ami_rollout.asl.json"
TICKS = 6


class Minutes:
    """`fleet_cycle` each minute, each of its looks ten seconds after the last, upon a stage that a job comes to."""

    def __init__(self, machines: Machines) -> None:
        self.stage, self.machines = Stage(), machines
        self.stage.fleet(SLUG)
        self.minute = 0

    @property
    def second(self) -> float:
        return (self.stage.now - NOW).total_seconds()

    def look(self, event: dict[str, Any]) -> dict[str, Any]:
        self.stage.now = NOW + timedelta(seconds=60 * self.minute + 10 * event["tick"])
        loop.reconcile(ports_of(self.stage, loop.Ports, worker_limit=50), "Tick")
        return {}

    def run(self, **how: Any) -> Run:
        given = {"ticks": TICKS, "tick_seconds": 10, "tick": 0}
        return self.machines.run(CYCLE, {"ReconcileFunction": self.look}, given, **how)


@pytest.mark.parametrize("time", [1, 3, TICKS])
@pytest.mark.parametrize("state", states_of(CYCLE))
def test_a_cycle_aborted_at_any_state_is_carried_on_by_the_next_minutes(
    machines: Machines, state: str, time: int
) -> None:
    minutes = Minutes(machines)
    time = min(time, TICKS - 1) if state == "WaitForTick" else time
    found = minutes.run(aborted_at=(state, time))
    looks = time - 1 if state == "Reconcile" else time
    assert (found.status, len(found.calls)) == ("ABORTED", looks)
    died, minutes.minute = max(0, minutes.second), 1
    minutes.stage.job(SLUG)
    minutes.run(aborted_at=("CountTick", 1))
    assert minutes.stage.groups[GROUP].desired == 1, "the next minute's first look answers the job"
    assert minutes.second - died <= PICK_UP


class Rolling:
    """A fleet of three in the middle of a rollout, by the second; its machine runs as deployed and looks each 15 s."""

    def __init__(self, machines: Machines, *, failing: int = 0) -> None:
        self.stage, self.machines, self.failing = Stage(), machines, failing
        self.stage.fleet(SLUG, desired=3)
        for n in (1, 2, 3):
            self.stage.instance(f"i-{n}", active_at=ago(n))
        self.stage.groups[GROUP] = replace(self.stage.groups[GROUP], min_size=3)
        self.stage.parameters[SLUG] = ParameterImage("ami-2", 2, ago(1))
        self.account = Account(self.stage)
        self.second = 0

    def pass_by(self, seconds: int) -> None:
        for _ in range(seconds):
            self.second += 1
            self.account.second(self.second)

    def survey(self) -> str:
        """The execution that the schedule starts, if it starts one."""
        before = set(self.stage.executions)
        started = ami_rollout.survey(ports_of(self.stage, ami_rollout.Ports))["started"]
        return next(iter(set(self.stage.executions) - before)) if started else ""

    def look(self, event: dict[str, Any]) -> dict[str, object]:
        if self.failing:
            self.failing -= 1
            raise RuntimeError("a defect")
        task = parse_rollout(event)
        assert isinstance(task, RolloutTask)
        answer = ami_rollout.look(ports_of(self.stage, ami_rollout.Ports), task)
        if answer["next"] == "wait":
            self.pass_by(15)
        return answer

    def run(self, name: str, **how: Any) -> Run:
        given = self.stage.executions[name]
        found = self.machines.run(ROLLOUT, {"AmiRolloutFunction": self.look}, given, name, **how)
        self.stage.running.discard(name)
        return found


@pytest.mark.parametrize("time", [1, 2, 5])
@pytest.mark.parametrize("state", states_of(ROLLOUT))
def test_a_rollout_aborted_at_any_state_is_carried_on_within_90_s(machines: Machines, state: str, time: int) -> None:
    rolling = Rolling(machines, failing=time if state == "WaitAfterError" else 0)
    found = rolling.run(rolling.survey(), aborted_at=(state, time))
    assert (found.status, found.states.count(state)) == ("ABORTED", time - 1)
    died = rolling.second
    while not (successor := rolling.survey()):
        rolling.pass_by(60)
        assert rolling.second - died <= PICK_UP
    rolling.failing = 0
    assert rolling.run(successor).states[-1] == "Done"
    assert {rolling.stage.images.get(i.id) for i in rolling.stage.groups[GROUP].instances} == {"ami-2"}
    assert min(rolling.account.out) == 2, "one at a time, whoever had begun"
