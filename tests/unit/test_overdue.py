"""Instances that never registered: who goes, under which name, and whether another is launched for it."""

from __future__ import annotations

import pytest
from fleet_control.decide.model import Fleet, Instance, LaunchHistory
from fleet_control.decide.plan import plan
from fleet_control.decide.scale_in import Next, look_overdue

from tests.unit import build as b

OPEN = LaunchHistory(failed_in_a_row=3, opened_at=b.ago(10), attempted_at=b.ago(650))
DUE = LaunchHistory(failed_in_a_row=3, opened_at=b.ago(700), attempted_at=b.ago(700))


def late(name: str, age: float = 650) -> Instance:
    return b.booting(name, age=age, lifecycle="InService")


def replaced(fleet: Fleet, running: frozenset[str] | None = None) -> list[tuple[str, bool]]:
    found = plan(b.observation(fleet, scale_ins_running=running), 50).fleets[0]
    return [(one.execution, one.replace) for one in found.overdue]


@pytest.mark.parametrize(
    ("fleet", "expected"),
    [
        pytest.param(b.fleet(b.booting("i-1", age=599), queued=1), [], id="before its deadline it boots"),
        pytest.param(b.fleet(late("i-1"), queued=1), [("i-1-overdue-0", True)], id="wanted: replaced"),
        pytest.param(b.fleet(late("i-1")), [("i-1-overdue-0", False)], id="not wanted: goes, desired with it"),
        pytest.param(b.fleet(late("i-1", 700), queued=1), [("i-1-overdue-1", True)], id="a name a pick-up period"),
        pytest.param(
            b.fleet(late("i-1"), late("i-2"), queued=1),
            [("i-1-overdue-0", False), ("i-2-overdue-0", True)],
            id="one of two is wanted",
        ),
        pytest.param(
            b.fleet(late("i-1"), late("i-2"), queued=4, launches=LaunchHistory(failed_in_a_row=2)),
            [("i-1-overdue-0", False), ("i-2-overdue-0", True)],
            id="two have failed: one more may be launched",
        ),
        pytest.param(b.fleet(late("i-1"), queued=4, launches=OPEN), [("i-1-overdue-0", False)], id="open: no other"),
        pytest.param(b.fleet(late("i-1"), queued=4, launches=DUE), [("i-1-overdue-0", True)], id="a probe takes over"),
        pytest.param(
            b.fleet(late("i-1"), queued=4, launches=OPEN, min_size=1),
            [],
            id="open and at min: it stays, since its group would launch another",
        ),
    ],
)
def test_who_goes_and_whether_it_is_replaced(fleet: Fleet, expected: list[tuple[str, bool]]) -> None:
    assert replaced(fleet) == expected


def test_one_whose_execution_runs_is_not_told_again() -> None:
    assert replaced(b.fleet(late("i-1", 700), queued=1), frozenset({"i-1-overdue-0"})) == []


@pytest.mark.parametrize(
    ("registered", "age", "expected"),
    [
        pytest.param(True, 500, Next.DONE, id="it has registered after all"),
        pytest.param(False, 59, Next.WAIT, id="a last chance"),
        pytest.param(False, 60, Next.TERMINATE, id="not within the limit"),
    ],
)
def test_the_second_look(registered: bool, age: float, expected: Next) -> None:
    assert look_overdue(registered, b.ago(age), 60, b.NOW).next is expected


@pytest.mark.parametrize(
    ("age", "others", "heard", "expected"),
    [
        pytest.param(60, 1, 60, Next.TERMINATE, id="others have been heard of for as long"),
        pytest.param(90, 1, 59, Next.WAIT, id="not yet: it may be a moment behind them"),
        pytest.param(90, 90, None, Next.WAIT, id="nobody since: the backend may be away, or they work"),
        pytest.param(720, 800, None, Next.RELEASE, id="nobody for long: left to the next look"),
    ],
)
def test_it_goes_only_while_the_backend_answers_somebody(
    age: float, others: float, heard: float | None, expected: Next
) -> None:
    first = None if heard is None else b.ago(heard)
    assert look_overdue(False, b.ago(age), 60, b.NOW, b.ago(others), heard_at=first).next is expected
