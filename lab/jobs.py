"""The open-loop job source: jobs arrive when the plan says, however the platform is doing."""

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

from lab.backend import Backend
from lab.mariadb import Connection
from lab.payloads import Payloads
from lab.sessions import AwayError

TENANTS = ("acme", "bluebird", "cinema-paradiso", "dovetail", "ember")
RETRY_SECONDS = 0.25


class Journal(Protocol):
    def write(self, kind: str, **fields: Any) -> None: ...


@dataclass(frozen=True)
class Burst:
    """`jobs` jobs for `workflow` at once, `at` seconds into the story; `nudged` ones are announced by JobQueued.

    `seconds` is the range of work one job takes; `long` of them take `long_seconds` instead.
    """

    name: str
    at: float
    workflow: str
    jobs: int
    nudged: bool = False
    seconds: tuple[float, float] = (3.0, 5.0)
    long: int = 0
    long_seconds: float = 20.0


@dataclass(frozen=True)
class Arrival:
    """One job of the plan."""

    at: float
    burst: str
    workflow: str
    tenant: str
    seconds: float
    nudged: bool


def arrivals(bursts: Iterable[Burst], seed: int) -> list[Arrival]:
    """Every job in order of arrival; the same seed gives the same jobs."""
    dice = random.Random(seed)
    planned = [arrival for burst in sorted(bursts, key=lambda b: b.at) for arrival in _of_burst(burst, dice)]
    return sorted(planned, key=lambda arrival: arrival.at)


def _of_burst(burst: Burst, dice: random.Random) -> list[Arrival]:
    tenant = dice.choice(TENANTS)  # a burst is one customer's batch
    return [
        Arrival(
            at=burst.at,
            burst=burst.name,
            workflow=burst.workflow,
            tenant=tenant,
            seconds=burst.long_seconds if number < burst.long else round(dice.uniform(*burst.seconds), 2),
            nudged=burst.nudged,
        )
        for number in range(burst.jobs)
    ]


class JobSource:
    """Commits the jobs of a plan in a thread of its own and journals each with its time of commit (kind `job`).

    `nudge(workflow)` is called once for a nudged burst, after its first job: the others follow within milliseconds.
    """

    def __init__(
        self, connect: Callable[[], Connection], journal: Journal, nudge: Callable[[str], None], *, sources: int = 0
    ) -> None:
        self._backend = Backend(connect)
        self._payloads = Payloads(connect)
        self._journal = journal
        self._nudge = nudge
        self._number = sources * 1_000_000
        self._lock = threading.Lock()

    def run(self, plan: Sequence[Arrival], start: float, stop: threading.Event) -> None:
        """`start` is the story's beginning on the monotonic clock; returns after the last arrival or on `stop`."""
        for burst, jobs in groupby(plan, key=lambda arrival: arrival.burst):
            batch = list(jobs)
            if stop.wait(max(0.0, start + batch[0].at - time.monotonic())):
                return
            for number, arrival in enumerate(batch):
                self.submit(arrival, stop)
                if arrival.nudged and number == 0:
                    self._nudge(arrival.workflow)
            first = batch[0]
            self._journal.write("burst", name=burst, workflow=first.workflow, tenant=first.tenant, jobs=len(batch),
                                nudged=first.nudged)  # fmt: skip

    def submit(self, arrival: Arrival, stop: threading.Event | None = None) -> int | None:
        """Commit one job, asking again while the database is away; its dispatch id, None when stopped before."""
        with self._lock:
            self._number += 1
            while not (stop and stop.is_set()):
                try:
                    return self._commit(arrival, self._number)
                except AwayError:
                    time.sleep(RETRY_SECONDS)
                    self._number += 1  # the first try may have been committed after all
        return None

    def _commit(self, arrival: Arrival, number: int) -> int:
        self._payloads.put(arrival.tenant, number, arrival.seconds)
        dispatch = self._backend.submit(arrival.workflow, tenant=arrival.tenant, tenant_job_id=number)
        self._journal.write(
            "job",
            event="committed",
            dispatch_id=dispatch,
            workflow=arrival.workflow,
            tenant=arrival.tenant,
            burst=arrival.burst,
            nudged=arrival.nudged,
            seconds=arrival.seconds,
        )
        return dispatch

    def close(self) -> None:
        self._backend.close()
        self._payloads.close()
