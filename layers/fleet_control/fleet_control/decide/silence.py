"""Silence: one worker that has died, or the backend that is away and nobody can be seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from fleet_control.decide.model import SPOT_INTERRUPTION, Fleet, HeldFleet, Instance, Lease, Observation, Policy, Worker
from fleet_control.decide.standing import seconds_since

TOGETHER = 0.25
"""Workers whose last signs lie within this part of the silent window fell silent together: idle ones poll every 3 s,
busy ones say so every 30 s, and the window is 300 s."""

NAMED = 10
"""Of the silent in the reason: an operator has to find them, not to read a book."""


@dataclass(frozen=True, slots=True)
class Silence:
    """The stage's workers on instances that run: how many, and when any of them was last seen."""

    workers: int
    newest: datetime | None
    silent: tuple[tuple[Worker, Policy], ...] = ()

    @property
    def unexplained(self) -> int:
        """Silent workers since whose last sign the backend has answered nobody else."""
        return sum(not self._answered_since(worker, policy) for worker, policy in self.silent)

    @property
    def backend_away(self) -> bool:
        """Several workers, and none seen since the silent ones: it is not they who have died. One alone proves
        nothing of the backend, and its instance is replaced."""
        return self.workers >= 2 and self.unexplained > 0

    @property
    def reason(self) -> str:
        names = ", ".join(sorted(worker.instance_id for worker, policy in self.silent)[:NAMED])
        return (
            f"the backend seems away: {self.unexplained} of {self.workers} workers have been silent too long, "
            f"and none was seen since {self.newest}; capacity stays as it is. "
            f"If it answers, they have died: terminate {names} by hand"
        )

    def is_zombie(self, worker: Worker) -> bool:
        mine = [(one, policy) for one, policy in self.silent if one is worker]
        return any(self.workers < 2 or self._answered_since(one, policy) for one, policy in mine)

    def _answered_since(self, worker: Worker, policy: Policy) -> bool:
        """Somebody else was seen clearly later."""
        together = timedelta(seconds=policy.silent_seconds * TOGETHER)
        return self.newest is not None and self.newest > last_sign(worker) + together


def silence(observation: Observation) -> Silence:
    """Whom the backend ought to have seen, and who is silent beyond the fleet's limit."""
    crew = [(w, fleet.policy) for fleet in observation.fleets for w in _expected(fleet)]
    # Of a fleet on hold nobody is judged, but a tag that cannot be read makes no other fleet's worker the only one.
    held = [worker for fleet in observation.held for worker in _expected(fleet)]
    others = [stray.worker for stray in observation.strays if stray.worker is not None]
    newest = max((last_sign(worker) for worker in [*(w for w, _ in crew), *held, *others]), default=None)
    silent = tuple((w, p) for w, p in crew if is_silent(w, p, observation.now) and not _put_aside(w))
    return Silence(len(crew) + len(held), newest, silent)


def quiet(found: Silence, policy: Policy, now: datetime) -> bool:
    """Nobody was seen for so long that the backend may be away: who is silent may be unable to poll, and who boots to
    register. Not yet a reason to hold: workers that are silent while they work are quiet, too."""
    return found.workers >= 2 and seconds_since(found.newest, now) >= policy.silent_seconds * TOGETHER


def zombies(fleet: Fleet, found: Silence) -> tuple[Worker, ...]:
    """Silent with nothing to do, on an instance that runs; an admin's drain is the admin's."""
    members = [i.worker for i in fleet.instances if i.lifecycle == "InService" and i.worker is not None]
    return tuple(worker for worker in members if not worker.draining and found.is_zombie(worker))


def timed_out(observation: Observation, found: Silence) -> tuple[Lease, ...]:
    """Live leases of workers that nobody has seen for longer than any job takes, while others are seen."""
    return tuple(
        lease
        for fleet in observation.fleets
        if not quiet(found, fleet.policy, observation.now)
        for worker in _expected(fleet)
        if is_lost(worker, fleet.policy, observation.now)
        for lease in worker.leases
        if lease.is_live(observation.now)
    )


def forgotten(observation: Observation) -> tuple[Lease, ...]:
    """Live leases that their workers do not know of, since the answer that handed the job out was lost: the worker has
    polled on, free as it says, for as long as another might be silent, and no heartbeat has ever renewed the lease."""
    return tuple(
        lease
        for fleet in observation.fleets
        for worker in _expected(fleet)
        for lease in worker.leases
        if lease.is_live(observation.now) and _does_not_know(worker, lease, fleet.policy)
    )


def _does_not_know(worker: Worker, lease: Lease, policy: Policy) -> bool:
    if worker.load or worker.seen_at is None or lease.handed_out_at is None:
        return False
    return seconds_since(lease.handed_out_at, worker.seen_at) >= policy.silent_seconds


def is_silent(worker: Worker, policy: Policy, now: datetime) -> bool:
    """Under a live lease a worker may work without a word, up to the job's time-out."""
    if worker.holds_live_lease(now):
        return is_lost(worker, policy, now)
    return seconds_since(last_sign(worker), now) >= policy.silent_seconds


def is_lost(worker: Worker, policy: Policy, now: datetime) -> bool:
    return seconds_since(last_sign(worker), now) >= policy.job_timeout_seconds


def last_sign(worker: Worker) -> datetime:
    """Its registration is one, too: the first poll comes seconds later."""
    return max(worker.registered_at, worker.seen_at or worker.registered_at)


def _expected(fleet: Fleet | HeldFleet) -> Iterator[Worker]:
    """Who should be heard of: neither going nor warned."""
    for member in fleet.instances:
        if member.worker is not None and _runs(member) and not _warned(member.worker):
            yield member.worker


def _runs(member: Instance) -> bool:
    return member.exists and member.state in (None, "running")


def _put_aside(worker: Worker) -> bool:
    """By an admin, who may have stopped its program to look into it. It is nobody's to replace."""
    return worker.draining and worker.drain is None


def _warned(worker: Worker) -> bool:
    return worker.drain is not None and worker.drain.reason == SPOT_INTERRUPTION
