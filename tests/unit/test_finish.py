"""Let it finish: which jobs of a warned worker are expected to end in time, and by which figures."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from fleet_control.decide.finish import FEWEST_DURATIONS, Outlook, outlooks, percentile_90
from fleet_control.decide.losses import of_warned
from fleet_control.decide.model import SPOT_INTERRUPTION, Drain, Lease

from tests.unit import build as b

LEFT = 105.0
FINISH_BY = b.NOW + timedelta(seconds=LEFT)
MINUTE_JOBS = [50.0] * 8 + [60.0, 300.0]
"""Nine of ten took a minute at most."""


@pytest.mark.parametrize(
    ("durations", "expected"),
    [
        ([], None),
        ([10.0] * (FEWEST_DURATIONS - 1), None),
        ([5.0, 1.0, 3.0, 2.0, 4.0], 5.0),
        ([float(n) for n in range(1, 11)], 9.0),
        ([float(n) for n in range(1, 101)], 90.0),
        (MINUTE_JOBS, 60.0),
    ],
)
def test_the_90th_percentile_is_a_duration_that_occurred(durations: list[float], expected: float | None) -> None:
    assert percentile_90(durations) == expected


def outlook(*, ran: float | None, durations: list[float], left: float = LEFT, lease: Lease | None = None) -> Outlook:
    held = lease or b.lease(7)
    since: dict[int, datetime] = {} if ran is None else {held.dispatch_id: b.ago(ran)}
    (found,) = outlooks((held,), since, {b.SLUG: durations}, b.NOW + timedelta(seconds=left), b.NOW)
    return found


@pytest.mark.parametrize(
    ("seen", "finishes"),
    [
        pytest.param(outlook(ran=10, durations=MINUTE_JOBS), True, id="50 s to go of 105"),
        pytest.param(outlook(ran=0, durations=[105.0] * 5), True, id="just in time"),
        pytest.param(outlook(ran=0, durations=[106.0] * 5), False, id="a second too long"),
        pytest.param(outlook(ran=1, durations=[106.0] * 5), True, id="the time already run counts"),
        pytest.param(outlook(ran=500, durations=[600.0] * 10), True, id="a long job near its end"),
        pytest.param(outlook(ran=400, durations=[600.0] * 10), False, id="a long job in its middle"),
        pytest.param(outlook(ran=900, durations=[600.0] * 10), True, id="longer than nine of ten: near its end"),
        pytest.param(outlook(ran=10, durations=[5.0] * 4), False, id="too few to conclude from"),
        pytest.param(outlook(ran=10, durations=[]), False, id="a workflow nobody has completed"),
        pytest.param(outlook(ran=None, durations=MINUTE_JOBS), True, id="beginning unknown: all of it is ahead"),
        pytest.param(outlook(ran=None, durations=[106.0] * 5), False, id="beginning unknown, and too long"),
        pytest.param(outlook(ran=59, durations=MINUTE_JOBS, left=0), False, id="a warning that came at the end"),
        pytest.param(outlook(ran=99, durations=MINUTE_JOBS, left=-20), False, id="a warning that came after the end"),
        pytest.param(
            outlook(ran=10, durations=MINUTE_JOBS, lease=b.lease(7, expires_in=-1)), False, id="a lease that ran out"
        ),
    ],
)
def test_what_is_expected_to_end_in_time(seen: Outlook, finishes: bool) -> None:
    assert seen.finishes is finishes


def test_the_figures_stand_in_the_record() -> None:
    assert outlook(ran=10, durations=MINUTE_JOBS).figures() == {
        "dispatch_id": 7,
        "workflow": b.SLUG,
        "ran_s": 10.0,
        "p90_s": 60.0,
        "of_jobs": 10,
        "left_s": LEFT,
        "may_finish": True,
    }


def test_each_workflow_has_its_own_figures() -> None:
    slow = Lease(8, "slow", "i-1", "token-8", b.NOW + timedelta(seconds=600), 1)
    known = {b.SLUG: [10.0] * 5, "slow": [999.0] * 5}
    found = outlooks((b.lease(7), slow), {}, known, FINISH_BY, b.NOW)
    assert [one.finishes for one in found] == [True, False]


HELD = (b.lease(7), b.lease(8))


@pytest.mark.parametrize(
    ("drain", "back"),
    [
        pytest.param(Drain(1, SPOT_INTERRUPTION, b.ago(5), False, FINISH_BY, frozenset({7})), [8], id="7 may finish"),
        pytest.param(
            Drain(1, SPOT_INTERRUPTION, b.ago(5), False, b.NOW, frozenset({7})), [7, 8], id="until its time is up"
        ),
        pytest.param(
            Drain(1, SPOT_INTERRUPTION, b.ago(5), False, FINISH_BY), [7, 8], id="nobody was expected to finish"
        ),
        pytest.param(
            Drain(1, SPOT_INTERRUPTION, b.ago(5), False, None, frozenset({7})), [7, 8], id="no time is known: all back"
        ),
        pytest.param(Drain(1, "terminating", b.ago(5)), [], id="waiting for its hook is no warning"),
        pytest.param(Drain(1, "rebalance", b.ago(5)), [], id="a replaced one ends what it has begun"),
        pytest.param(None, [], id="nobody drained it"),
    ],
)
def test_what_a_warned_worker_gives_back(drain: Drain | None, back: list[int]) -> None:
    assert [lost.lease.dispatch_id for lost in of_warned(drain, HELD, b.NOW)] == back
