"""What an instance is good for right now, and who counts as supply."""

import pytest
from fleet_control.decide.model import HOLDS_A_SLOT, SUPPLY, Instance, Standing
from fleet_control.decide.standing import standing

from tests.unit import build as b

OLD = b.ago(4000)


@pytest.mark.parametrize(
    ("instance", "expected"),
    [
        pytest.param(b.idle("i-1"), Standing.IDLE, id="a live worker without a lease is idle"),
        pytest.param(b.busy("i-1"), Standing.BUSY, id="a live worker with a lease is busy"),
        pytest.param(b.busy("i-1", seen=3000), Standing.BUSY, id="silence under a live lease is work, not death"),
        pytest.param(
            Instance("i-1", launched_at=OLD, worker=b.worker(seen=10, leases=(b.lease(expires_in=-60),))),
            Standing.IDLE,
            id="a lease that ran out while its worker went on polling is over",
        ),
        pytest.param(
            Instance("i-1", launched_at=OLD, worker=b.worker(seen=120, leases=(b.lease(expires_in=-60),))),
            Standing.BUSY,
            id="a lease that ran out unseen may still be worked on",
        ),
        pytest.param(b.booting("i-1"), Standing.BOOTING, id="pending and young: booting"),
        pytest.param(
            b.booting("i-1", lifecycle="InService"), Standing.BOOTING, id="in service, not registered: booting"
        ),
        pytest.param(b.booting("i-1", age=599), Standing.BOOTING, id="within warm-up and five minutes: booting"),
        pytest.param(b.booting("i-1", age=600), Standing.OVERDUE, id="from the launch deadline on: overdue"),
        pytest.param(b.booting("i-1", age=None), Standing.BOOTING, id="EC2 does not know it yet: new, so booting"),
        pytest.param(b.booting("i-1", lifecycle="Pending:Wait"), Standing.BOOTING, id="held by a launch hook: booting"),
        pytest.param(b.draining("i-1"), Standing.DRAINING, id="our drain"),
        pytest.param(b.drained_by_admin("i-1"), Standing.DRAINING, id="an admin's drain"),
        pytest.param(b.interrupted("i-1"), Standing.INTERRUPTED, id="warned by Spot: interrupted"),
        pytest.param(b.silent("i-1"), Standing.SILENT, id="not seen for five minutes, no lease: silent"),
        pytest.param(
            Instance("i-1", launched_at=OLD, worker=b.worker(seen=None)), Standing.SILENT, id="never seen: silent"
        ),
        pytest.param(
            Instance("i-1", launched_at=OLD, worker=b.worker(approved=False)),
            Standing.SILENT,
            id="not approved: silent",
        ),
        pytest.param(b.going("i-1"), Standing.TERMINATING, id="held by a terminate hook: terminating"),
        pytest.param(
            Instance("i-1", "InService", OLD, "shutting-down", b.worker()),
            Standing.TERMINATING,
            id="EC2 knows before the group does: terminating",
        ),
        pytest.param(Instance("i-1", "Standby", OLD, "running", b.worker()), Standing.OUTSIDE, id="standby: outside"),
    ],
)
def test_where_an_instance_stands(instance: Instance, expected: Standing) -> None:
    assert standing(instance, b.policy(), b.NOW) is expected


def test_supply_is_what_serves_or_will_serve_soon() -> None:
    assert {Standing.BUSY, Standing.IDLE, Standing.BOOTING} == SUPPLY


def test_a_slot_is_held_without_serving_by_draining_and_silent_instances_only() -> None:
    """Interrupted ones are replaced by the group itself, terminating ones hold none."""
    assert {Standing.DRAINING, Standing.SILENT} == HOLDS_A_SLOT


def test_the_launch_deadline_follows_the_policy() -> None:
    quick = b.policy(warmup_seconds=5, launch_grace_seconds=2)
    assert standing(b.booting("i-1", age=6), quick, b.NOW) is Standing.BOOTING
    assert standing(b.booting("i-1", age=8), quick, b.NOW) is Standing.OVERDUE
