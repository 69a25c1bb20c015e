"""The capacity page as a table: what a fleet wants, has, and is set to."""

import pytest
from fleet_control.decide.capacity import capacity, wanted_instances
from fleet_control.decide.model import Fleet, Instance

from tests.unit import build as b


@pytest.mark.parametrize(
    ("fleet", "wanted"),
    [
        pytest.param(b.fleet(), 0, id="no demand: none"),
        pytest.param(b.fleet(queued=1), 1, id="one job: one instance"),
        pytest.param(b.fleet(queued=2), 1, id="as many jobs as the backlog target: one instance"),
        pytest.param(b.fleet(queued=3), 2, id="one job more: rounded up"),
        pytest.param(b.fleet(leased=3), 2, id="leases are demand like waiting jobs"),
        pytest.param(b.fleet(queued=2, leased=2), 2, id="waiting and leased jobs add up"),
        pytest.param(b.fleet(queued=1000), 10, id="never above max"),
        pytest.param(b.fleet(min_size=2), 2, id="never below min"),
        pytest.param(b.fleet(queued=5, max_size=0), 0, id="a fleet with max 0 is switched off"),
        pytest.param(b.fleet(queued=7, backlog_target=1), 7, id="the target is the fleet's own"),
    ],
)
def test_wanted_instances(fleet: Fleet, wanted: int) -> None:
    assert wanted_instances(fleet) == wanted


@pytest.mark.parametrize(
    ("fleet", "desired", "rule"),
    [
        pytest.param(b.fleet(queued=20), 10, "raise", id="0 to N in one step"),
        pytest.param(
            b.fleet(b.booting("i-1"), queued=2), 1, "steady", id="a booting instance is counted: no second launch"
        ),
        pytest.param(
            b.fleet(b.booting("i-1"), b.booting("i-2"), queued=6), 3, "raise", id="only what is missing is added"
        ),
        pytest.param(b.fleet(desired=3, queued=5), 3, "steady", id="asked for and not there yet: asked for once"),
        pytest.param(b.fleet(b.idle("i-1"), b.busy("i-2"), leased=1), 2, "steady", id="serving instances are not cut"),
        pytest.param(
            b.fleet(b.drained_by_admin("i-1"), queued=2), 2, "raise", id="an admin's drain holds a slot: one more"
        ),
        pytest.param(b.fleet(b.silent("i-1"), queued=2), 2, "raise", id="a silent instance holds a slot: one more"),
        pytest.param(
            b.fleet(b.interrupted("i-1"), queued=2),
            1,
            "steady",
            id="an interrupted one is replaced by the group itself",
        ),
        pytest.param(b.fleet(b.going("i-1"), desired=1, queued=2), 1, "steady", id="a terminating one holds no slot"),
        pytest.param(
            b.fleet(*[b.silent(f"i-{n}") for n in range(1, 4)], queued=2, max_size=3),
            3,
            "steady",
            id="never above max, whoever holds the slots",
        ),
        pytest.param(b.fleet(desired=5), 0, "lower", id="Spot is dry and the queue has emptied: nothing later"),
        pytest.param(
            b.fleet(b.booting("i-1"), b.idle("i-2"), desired=5),
            2,
            "lower",
            id="lowered to what exists, pending ones counted, since they are not protected",
        ),
        pytest.param(
            b.fleet(b.idle("i-1"), desired=5, queued=6), 3, "lower", id="lowered to what is wanted when that is more"
        ),
        pytest.param(
            b.fleet(b.idle("i-1"), b.idle("i-2"), desired=1),
            1,
            "steady",
            id="a rebalance left more than desired: no raise",
        ),
        pytest.param(b.fleet(min_size=1, desired=3), 1, "lower", id="lowered to min, not below"),
        pytest.param(
            b.fleet(b.busy("i-1"), b.busy("i-2"), b.dead("i-3"), b.booting("i-4"), desired=4, queued=4, leased=2),
            4,
            "steady",
            id="a dead member the group still counts: lowering would cancel the one that boots",
        ),
        pytest.param(
            b.fleet(b.dead("i-1"), desired=1), 0, "lower", id="a dead member alone is not replaced for nothing"
        ),
    ],
)
def test_desired_capacity(fleet: Fleet, desired: int, rule: str) -> None:
    found = capacity(fleet, b.NOW)
    assert (found.desired, found.rule) == (desired, rule)


@pytest.mark.parametrize(
    ("fleet", "undone", "desired"),
    [
        pytest.param(b.fleet(b.draining("i-1"), queued=1), ["i-1"], 1, id="our idle drain is undone, nothing launched"),
        pytest.param(
            b.fleet(b.draining("i-1"), b.draining("i-2"), queued=1),
            ["i-1"],
            2,
            id="no more are undone than are missing",
        ),
        pytest.param(b.fleet(b.draining("i-1"), queued=6), ["i-1"], 3, id="undone first, the rest is launched"),
        pytest.param(
            b.fleet(b.draining("i-1", "scale_to_zero"), queued=1), ["i-1"], 1, id="a drain to zero is undone likewise"
        ),
        pytest.param(
            b.fleet(b.draining("i-1", committed=True), queued=1), [], 2, id="a final drain is never undone: one more"
        ),
        pytest.param(b.fleet(b.drained_by_admin("i-1"), queued=1), [], 2, id="an admin's drain is left alone"),
        pytest.param(b.fleet(b.interrupted("i-1"), queued=1), [], 1, id="a warned instance stays drained"),
        pytest.param(
            b.fleet(b.draining("i-1", "instance_terminated"), queued=1), [], 2, id="a dying instance stays drained"
        ),
        pytest.param(
            b.fleet(Instance("i-1", worker=b.worker(seen=400, draining=True, drain=b.drain())), queued=1),
            [],
            2,
            id="a drained worker that has fallen silent would serve nobody: one more",
        ),
        pytest.param(b.fleet(b.draining("i-1"), b.idle("i-2"), queued=1), [], 2, id="nobody missing, nothing undone"),
    ],
)
def test_our_idle_drains_are_undone_before_anything_is_launched(fleet: Fleet, undone: list[str], desired: int) -> None:
    found = capacity(fleet, b.NOW)
    assert [instance.id for instance in found.undo] == undone
    assert found.desired == desired


def test_the_numbers_behind_a_decision_add_up() -> None:
    mixed = b.fleet(
        b.idle("i-1"), b.busy("i-2"), b.booting("i-3"), b.silent("i-4"), b.interrupted("i-5"), b.going("i-6"), queued=4
    )
    found = capacity(mixed, b.NOW)
    assert (found.wanted, found.supply, found.holding, found.existing) == (2, 3, 1, 5)
    assert found.surplus == 1
