"""The stage's limit on instances over all fleets."""

from datetime import datetime

import pytest
from fleet_control.decide.limit import Request, grant

from tests.unit import build as b


def ask(
    fleet: str, current: int, asked: int, waiting_since: datetime | None = None, floor: int | None = None
) -> Request:
    """All of `current` is there, unless told otherwise."""
    return Request(fleet, current, asked, waiting_since, min(current, asked) if floor is None else floor)


@pytest.mark.parametrize(
    ("requests", "limit", "reserved", "granted"),
    [
        pytest.param([ask("a", 0, 3), ask("b", 0, 4)], 50, 0, {"a": 3, "b": 4}, id="room for all"),
        pytest.param(
            [ask("a", 0, 3, b.ago(5)), ask("b", 0, 3, b.ago(60))], 4, 0, {"a": 1, "b": 3}, id="oldest waiting job first"
        ),
        pytest.param(
            [ask("a", 0, 3, None), ask("b", 0, 3, b.ago(1))], 4, 0, {"a": 1, "b": 3}, id="nobody waiting comes last"
        ),
        pytest.param(
            [ask("b", 0, 3), ask("a", 0, 3)], 4, 0, {"a": 3, "b": 1}, id="equal: by name, always the same way"
        ),
        pytest.param([ask("a", 5, 2), ask("b", 3, 6)], 8, 0, {"a": 2, "b": 6}, id="what one gives back another gets"),
        pytest.param(
            [ask("a", 6, 8), ask("b", 6, 6)], 10, 0, {"a": 6, "b": 6}, id="above the limit: no raise, and nobody goes"
        ),
        pytest.param(
            [ask("a", 6, 8, floor=2), ask("b", 6, 6, floor=5)],
            9,
            0,
            {"a": 4, "b": 5},
            id="above it: what was never launched is given up, as far as needed",
        ),
        pytest.param(
            [ask("a", 6, 8, b.ago(60), floor=2), ask("b", 6, 6, b.ago(5), floor=5)],
            10,
            0,
            {"a": 5, "b": 5},
            id="above it: the youngest waiting job gives up first",
        ),
        pytest.param(
            [ask("a", 9, 9, floor=1)], 2, 5, {"a": 1}, id="above it with fleets on hold: down to who is there"
        ),
        pytest.param([ask("a", 0, 9)], 10, 6, {"a": 4}, id="fleets on hold count against the limit"),
        pytest.param([ask("a", 3, 1)], 0, 0, {"a": 1}, id="lowering is always granted"),
    ],
)
def test_grants(requests: list[Request], limit: int, reserved: int, granted: dict[str, int]) -> None:
    assert grant(requests, limit, reserved) == granted
