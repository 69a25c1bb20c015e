"""The lease of a job, between its heartbeats, its outcome and the end of the machine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from comfyui_worker.backend import Backend
from comfyui_worker.ending import Ending
from comfyui_worker.errors import AwayError, LeaseLostError, RefusedError
from comfyui_worker.jobs import Lease
from comfyui_worker.keeper import Keeper
from comfyui_worker.log import Log

LEASE = Lease(7, "token")


@dataclass
class Heard:
    """A backend that notes what it is told; `answer` may raise."""

    told: list[str] = field(default_factory=list)
    answer: Callable[[], None] = lambda: None
    event: threading.Event = field(default_factory=threading.Event)

    def heartbeat(self, lease: Lease) -> None:
        self._hear("heartbeat")

    def requeue(self, lease: Lease, reason: str) -> None:
        self._hear(f"requeue {reason}")

    def _hear(self, what: str) -> None:
        self.told.append(what)
        self.event.set()
        self.answer()


def keeper(backend: Heard, ending: Ending, interval: float = 60, margin: float = 1) -> Keeper:
    return Keeper(cast("Any", backend), LEASE, ending, Log("i-1"), interval=interval, margin=margin)


def raiser(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_backend_has_what_the_keeper_needs() -> None:
    assert {"heartbeat", "requeue"} <= set(dir(Backend))


def test_heartbeats_come_while_the_jobs_thread_is_busy() -> None:
    backend = Heard()
    with keeper(backend, Ending(), interval=0.02):
        while backend.told.count("heartbeat") < 3:
            assert backend.event.wait(5)
            backend.event.clear()


def test_a_refused_heartbeat_ends_the_wait_of_the_jobs_thread() -> None:
    backend = Heard(answer=raiser(RefusedError(404, "no such lease")))
    with keeper(backend, Ending(), interval=0.02) as kept, pytest.raises(LeaseLostError, match="404"):
        kept.wait(10)


def test_a_heartbeat_that_does_not_arrive_loses_nothing() -> None:
    backend = Heard(answer=raiser(AwayError("away")))
    with keeper(backend, Ending(), interval=0.02) as kept:
        while len(backend.told) < 3:
            kept.wait(0.01)
        kept.check()  # raises when the lease counts as lost
    assert set(backend.told) == {"heartbeat"}


def test_an_outcome_on_its_way_is_not_given_back_however_near_the_end() -> None:
    backend, ending = Heard(), Ending()
    with keeper(backend, ending, margin=100) as kept:
        kept.settle(lambda _: cast("None", ending.announce(0.5, "spot_interruption")), 10)
    assert backend.told == []


def test_an_outcome_that_may_have_arrived_is_not_given_back_either() -> None:
    backend, ending = Heard(), Ending()
    with keeper(backend, ending, margin=100) as kept:
        ending.announce(200, "spot_interruption")
        with pytest.raises(AwayError):
            kept.settle(lambda _: raiser(AwayError("the answer was lost"))(), 0.01)
        ending.announce(0.5, "spot_interruption")
        kept._thread.join(5)
    assert backend.told == []


def test_what_was_given_back_has_no_outcome_any_more() -> None:
    backend, ending = Heard(), Ending()
    ending.announce(0.5, "spot_interruption")
    with keeper(backend, ending) as kept:
        with pytest.raises(LeaseLostError):
            kept.wait(10)
        with pytest.raises(LeaseLostError):
            kept.settle(lambda _: pytest.fail("told"), 1)
    assert backend.told == ["requeue spot_interruption"]


def test_given_back_by_the_control_plane_before_is_as_good() -> None:
    backend, ending = Heard(answer=raiser(RefusedError(404, "no such lease"))), Ending()
    ending.announce(0.5, "spot_interruption")
    with keeper(backend, ending) as kept, pytest.raises(LeaseLostError, match="404"):
        kept.wait(10)
    assert backend.told == ["requeue spot_interruption"]
