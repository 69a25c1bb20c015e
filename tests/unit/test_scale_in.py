"""One look at a drain on its way, and whether a termination takes desired down with it."""

from datetime import datetime
from typing import Any

import pytest
from fleet_control.decide.model import Worker
from fleet_control.decide.scale_in import Next, Verdict, decrement, look

from tests.unit import build as b


def drained(*, age: float = 10, seen: float | None = 20, **values: Any) -> Worker:
    given: dict[str, Any] = {"draining": True, "drain": b.drain(age=age)} | values
    return b.worker(seen=seen, **given)


def verdict(worker: Worker | None, *, waiting: int = 0, polled_at: datetime | None = None) -> Verdict:
    return look(worker, drain_id=100, waiting=waiting, limit_seconds=60, polled_at=polled_at, now=b.NOW)


@pytest.mark.parametrize(
    ("worker", "waiting", "polled_at", "expected"),
    [
        pytest.param(None, 0, None, Next.DONE, id="the row is gone: done"),
        pytest.param(b.worker(), 0, None, Next.DONE, id="undrained meanwhile: done"),
        pytest.param(b.worker(draining=True), 0, None, Next.DONE, id="an admin's drain now: done"),
        pytest.param(
            drained(drain=b.drain("spot_interruption", row_id=101)), 0, None, Next.DONE, id="a newer drain stands: done"
        ),
        pytest.param(drained(), 0, None, Next.WAIT, id="not seen since the drain: wait"),
        pytest.param(drained(seen=10), 0, None, Next.WAIT, id="seen in the drain's own second proves nothing: wait"),
        pytest.param(drained(seen=6), 0, None, Next.WAIT, id="one poll since: it may have read the row before: wait"),
        pytest.param(drained(seen=6), 0, b.ago(6), Next.WAIT, id="the same poll seen twice is one poll: wait"),
        pytest.param(drained(seen=3), 0, b.ago(6), Next.TERMINATE, id="polled twice and refused: terminate"),
        pytest.param(drained(age=60), 0, None, Next.TERMINATE, id="no poll within the limit and no lease: terminate"),
        pytest.param(drained(age=59), 0, None, Next.WAIT, id="a second before the limit: wait"),
        pytest.param(
            drained(seen=3, leases=(b.lease(),)), 0, b.ago(6), Next.RELEASE, id="a job slipped in: it is finished"
        ),
        pytest.param(
            drained(age=500, leases=(b.lease(),)), 0, None, Next.RELEASE, id="a job is finished whatever the limit"
        ),
        pytest.param(
            drained(age=500, seen=800, leases=(b.lease(expires_in=-60),)),
            0,
            None,
            Next.RELEASE,
            id="a worker silent with a lease that ran out may be working",
        ),
        pytest.param(drained(seen=3), 1, b.ago(6), Next.RELEASE, id="a job waits: serving it is quicker than a launch"),
        pytest.param(
            drained(drain=b.drain(row_id=105, committed=True)),
            1,
            None,
            Next.TERMINATE,
            id="final is final, come what may",
        ),
    ],
)
def test_verdict_of_a_look(worker: Worker | None, waiting: int, polled_at: datetime | None, expected: Next) -> None:
    assert verdict(worker, waiting=waiting, polled_at=polled_at).next is expected


def test_a_look_hands_the_first_poll_on_to_the_next_look() -> None:
    first = verdict(drained(seen=6))
    assert first.polled_at == b.ago(6)
    assert verdict(drained(seen=3), polled_at=first.polled_at).next is Next.TERMINATE


@pytest.mark.parametrize(
    ("desired", "existing", "min_size", "expected"),
    [
        pytest.param(3, 3, 0, True, id="as many as desired: desired goes down with it"),
        pytest.param(4, 3, 0, True, id="fewer than desired: likewise, or the group would launch another"),
        pytest.param(2, 3, 0, False, id="a rebalance left more than desired: desired stays"),
        pytest.param(1, 1, 1, False, id="at min: AWS refuses the decrement"),
        pytest.param(2, 2, 1, True, id="above min: down"),
    ],
)
def test_decrement(desired: int, existing: int, min_size: int, expected: bool) -> None:
    assert decrement(desired, existing, min_size) is expected
