"""Drains whose scale-in has died are started again; those that run are not."""

import pytest
from fleet_control.decide.model import Instance
from fleet_control.decide.pickup import abandoned_drains, execution_name, old_drains

from tests.unit import build as b


@pytest.mark.parametrize(
    ("instance", "running", "expected"),
    [
        pytest.param(b.draining("i-1", age=89), frozenset(), [], id="before 90 s: it has its time"),
        pytest.param(b.draining("i-1", age=90), frozenset(), ["i-1"], id="after 90 s without an execution: again"),
        pytest.param(b.draining("i-1", age=90), frozenset({"i-1-101-0"}), [], id="its execution runs: left to it"),
        pytest.param(b.draining("i-1", age=300), frozenset({"i-1-101-2"}), [], id="a restarted one runs: left to it"),
        pytest.param(
            b.draining("i-1", age=90), frozenset({"i-1-10-0"}), ["i-1"], id="another drain's run is not its own"
        ),
        pytest.param(b.draining("i-1", age=90), None, [], id="nobody asked what runs: nothing is abandoned"),
        pytest.param(
            b.draining("i-1", age=90, committed=True), frozenset(), ["i-1"], id="a final drain is carried through"
        ),
        pytest.param(
            b.draining("i-1", "spot_interruption", age=900), frozenset(), [], id="not a scale-in: not its machine"
        ),
        pytest.param(b.drained_by_admin("i-1"), frozenset(), [], id="an admin's drain is never carried on"),
        pytest.param(b.going("i-1"), frozenset(), [], id="already going: nothing to do"),
    ],
)
def test_pick_up_of_drains(instance: Instance, running: frozenset[str] | None, expected: list[str]) -> None:
    found = abandoned_drains(b.fleet(instance), (), running, b.NOW)
    assert [worker.instance_id for worker in found] == expected


def test_a_drain_undone_in_this_plan_is_not_started_again() -> None:
    instance = b.draining("i-1", age=200)
    assert abandoned_drains(b.fleet(instance), (instance,), frozenset(), b.NOW) == ()


def test_running_executions_are_asked_for_only_when_a_drain_is_old() -> None:
    assert not old_drains((b.fleet(b.idle("i-1"), b.draining("i-2", age=89)),), b.NOW)
    assert old_drains((b.fleet(b.idle("i-1")), b.fleet(b.draining("i-2", age=90))), b.NOW)


@pytest.mark.parametrize(
    ("age", "name"),
    [
        pytest.param(0, "i-1-100-0", id="the first start"),
        pytest.param(-1, "i-1-100-0", id="a clock a second apart is the first start too"),
        pytest.param(89, "i-1-100-0", id="a second start within the period is the first"),
        pytest.param(90, "i-1-100-1", id="a pick-up has a name of its own: names stay reserved"),
        pytest.param(185, "i-1-100-2", id="and so has the next"),
    ],
)
def test_execution_names(age: float, name: str) -> None:
    assert execution_name(b.worker("i-1"), b.drain(age=age), b.NOW) == name
