"""Who goes down: one at a time, the longest idle first, the last one after the fleet's own quiet."""

import pytest
from fleet_control.decide.capacity import capacity
from fleet_control.decide.model import Fleet, Instance
from fleet_control.decide.surplus import choose

from tests.unit import build as b


def named(fleet: Fleet) -> tuple[str | None, str]:
    found = choose(fleet, capacity(fleet, b.NOW), b.NOW)
    return found.worker.instance_id if found.worker else None, found.reason


@pytest.mark.parametrize(
    ("fleet", "expected"),
    [
        pytest.param(b.fleet(b.idle("i-1", 9999), leased=1), (None, "no surplus"), id="as many as wanted: nobody"),
        pytest.param(
            b.fleet(b.idle("i-1", 119), b.idle("i-2", 5)), (None, "idle window"), id="before the idle window: nobody"
        ),
        pytest.param(
            b.fleet(b.idle("i-1", 120), b.idle("i-2", 5)), ("i-1", "idle"), id="after the idle window: it goes"
        ),
        pytest.param(
            b.fleet(b.idle("i-1", 130), b.idle("i-2", 500), b.idle("i-3", 200)),
            ("i-2", "idle"),
            id="longest idle first",
        ),
        pytest.param(
            b.fleet(b.idle("i-2", 500), b.idle("i-1", 500), b.idle("i-3", 500)),
            ("i-1", "idle"),
            id="equally idle: the older row, so that every look names the same",
        ),
        pytest.param(
            b.fleet(b.idle("i-1", 500), b.idle("i-2", 500), b.draining("i-3")),
            (None, "a drain is under way"),
            id="one at a time",
        ),
        pytest.param(
            b.fleet(b.idle("i-1", 500), b.idle("i-2", 500), b.drained_by_admin("i-3")),
            ("i-1", "idle"),
            id="an admin's drain does not hold up ours",
        ),
        pytest.param(
            b.fleet(b.busy("i-1"), b.busy("i-2"), leased=2), (None, "nobody idle"), id="nobody named while all are busy"
        ),
        pytest.param(
            b.fleet(b.busy("i-1"), b.idle("i-2", 500), leased=1), ("i-2", "idle"), id="the neighbour at work stays"
        ),
        pytest.param(
            b.fleet(b.booting("i-1"), b.booting("i-2", lifecycle="InService")),
            (None, "nobody idle"),
            id="booting instances are not judged",
        ),
        pytest.param(
            b.fleet(Instance("i-1", "Pending", b.ago(500), worker=b.worker(active=500)), b.idle("i-2", 5)),
            (None, "scale_to_zero window"),
            id="a pending instance is not protected yet: it stays, and nobody's place is taken by it",
        ),
        pytest.param(
            b.fleet(b.idle("i-1", 899)), (None, "scale_to_zero window"), id="the last one waits for the longer window"
        ),
        pytest.param(b.fleet(b.idle("i-1", 900)), ("i-1", "scale_to_zero"), id="the last one goes after it"),
        pytest.param(
            b.fleet(b.idle("i-1", 9999), last_job_at=b.ago(60)),
            (None, "scale_to_zero window"),
            id="the last one waits for the whole fleet's quiet, not only its own",
        ),
        pytest.param(
            b.fleet(b.idle("i-1", 9999), min_size=1), (None, "no surplus"), id="the fleet's minimum stays for ever"
        ),
    ],
)
def test_who_is_scaled_in(fleet: Fleet, expected: tuple[str | None, str]) -> None:
    assert named(fleet) == expected


def test_a_worker_silent_with_a_lease_is_never_named() -> None:
    quiet = Instance("i-1", worker=b.worker(active=9999, seen=200, leases=(b.lease(expires_in=-60),)))
    assert named(b.fleet(quiet, b.idle("i-2", 5))) == (None, "idle window")
