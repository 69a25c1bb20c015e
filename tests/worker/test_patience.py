"""Waiting, trying again, and knowing when the end is."""

from itertools import islice, pairwise

import pytest
from comfyui_worker.ending import Ending
from comfyui_worker.errors import AwayError, RefusedError
from comfyui_worker.retry import pauses, persist


def test_pauses_grow_up_to_a_bound_and_are_never_the_same_for_two_workers() -> None:
    one, other = (list(islice(pauses(3, 60), 8)) for _ in range(2))
    assert one != other
    spans = [3, 6, 12, 24, 48, 60, 60, 60]
    assert all(span / 2 <= pause <= span for pause, span in zip(one, spans, strict=True))
    assert all(later > earlier / 2 for earlier, later in pairwise(one))


@pytest.mark.parametrize("error", [AwayError("away"), RefusedError(429, "slow down")])
def test_what_may_pass_is_tried_again(error: Exception) -> None:
    errors = [error, error]
    waited: list[float] = []

    def call() -> str:
        if errors:
            raise errors.pop()
        return "done"

    assert persist(call, 100, waited.append) == "done"
    assert len(waited) == 2


def test_a_refusal_is_not_tried_again() -> None:
    waited: list[float] = []

    def refuse() -> None:
        raise RefusedError(404, "no such lease")

    with pytest.raises(RefusedError):
        persist(refuse, 100, waited.append)
    assert waited == []


def test_patience_ends() -> None:
    tries: list[int] = []

    def away() -> None:
        tries.append(1)
        raise AwayError("away")

    with pytest.raises(AwayError):
        persist(away, 0.0, lambda _: None)
    assert len(tries) == 1


def test_the_earliest_end_counts_and_the_same_notice_is_no_news() -> None:
    ending = Ending()
    assert not ending.begun
    assert ending.announce(120, "spot_interruption")
    assert not ending.announce(119.8, "spot_interruption")
    assert not ending.announce(600, "worker_stopped")
    assert ending.announce(30, "worker_stopped")
    assert ending.left() <= 30
    assert ending.reason == "spot_interruption", "what was announced first is why the machine goes"
    assert ending.wait(60), "nobody sleeps past an announcement"
