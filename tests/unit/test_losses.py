"""What is given back and forgotten when instances are gone, going or warned."""

import pytest
from fleet_control.decide.losses import losses
from fleet_control.decide.model import Instance, Observation, Stray

from tests.unit import build as b

HELD = (b.lease(7),)
STUCK = (b.lease(8, expires_in=-5, attempts=3),)


def member(state: str, lifecycle: str = "InService") -> Observation:
    return b.observation(b.fleet(Instance("i-1", lifecycle, b.ago(4000), state, b.worker(leases=HELD))))


def stray(state: str | None, *, row: bool = True, leases: object = HELD) -> Observation:
    found = b.worker(leases=leases) if row else None
    return b.observation(strays=(Stray("i-1", state, found, leases),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "requeued", "removed"),
    [
        pytest.param(member("running"), [], [], id="a serving member keeps its job"),
        pytest.param(member("running", "Terminating:Wait"), [], [], id="leaving by a hook: it may finish"),
        pytest.param(
            member("shutting-down"), [(7, "instance_terminated")], [], id="a dying member's job is given back at once"
        ),
        pytest.param(
            member("terminated"), [(7, "instance_terminated")], ["i-1"], id="a dead member's job and row are cleaned up"
        ),
        pytest.param(
            b.observation(b.fleet(b.interrupted("i-1", HELD))),
            [(7, "spot_interruption")],
            [],
            id="a warned worker's job is given back, its row stays",
        ),
        pytest.param(b.observation(b.fleet(b.draining("i-1", leases=HELD))), [], [], id="a drained worker finishes"),
        pytest.param(stray(None), [(7, "instance_terminated")], ["i-1"], id="unknown to EC2: gone long ago"),
        pytest.param(stray("terminated"), [(7, "instance_terminated")], ["i-1"], id="terminated: gone"),
        pytest.param(
            stray("shutting-down"), [(7, "instance_terminated")], [], id="dying: job back, row a little later"
        ),
        pytest.param(stray("running"), [], [], id="running outside every group: somebody's business, left alone"),
        pytest.param(stray("stopped"), [], [], id="stopped by hand: left alone"),
        pytest.param(
            stray("terminated", row=False),
            [(7, "instance_terminated")],
            [],
            id="a lease without a row: leased after the removal",
        ),
        pytest.param(stray(None, row=False), [], [], id="an admin's worker that EC2 does not know is left alone"),
        pytest.param(stray(None, leases=STUCK), [], ["i-1"], id="a stuck job is reported, never touched"),
        pytest.param(
            b.observation(b.fleet(b.interrupted("i-1", STUCK))), [], [], id="nor is it touched on a warned worker"
        ),
        pytest.param(
            stray(None, leases=(b.lease(9, expires_in=-5, attempts=2),)),
            [(9, "instance_terminated")],
            ["i-1"],
            id="an expired job with attempts left is given back with its attempt",
        ),
        pytest.param(b.observation(b.fleet(b.booting("i-1"))), [], [], id="nothing of nobody"),
    ],
)
def test_losses(seen: Observation, requeued: list[tuple[int, str]], removed: list[str]) -> None:
    found = losses(seen)
    assert [(lost.lease.dispatch_id, lost.reason) for lost in found.requeue] == requeued
    assert [worker.instance_id for worker in found.remove] == removed
