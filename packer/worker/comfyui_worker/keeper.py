"""Holds the lease of one job from a thread of its own, whatever the job's thread is busy with."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from comfyui_worker.backend import Backend
from comfyui_worker.ending import Ending
from comfyui_worker.errors import AwayError, LeaseLostError, RefusedError
from comfyui_worker.jobs import Lease
from comfyui_worker.log import Log
from comfyui_worker.retry import persist

LOOK_SECONDS = 1.0
"""How soon an announced end is taken into account; short beside the margin before it."""
GONE = frozenset({401, 403, 404})
"""Another holder's token, or a worker that the backend does not know any more: not ours in either case."""


class Keeper:
    """Heartbeats while the job runs; gives it back `margin` seconds before an announced end.

    Exactly one of three things ends it: `settle()` by the job's thread, the hand-back, or the backend's word that the
    lease is another's. `backend` is used by the keeper's thread alone.
    """

    def __init__(
        self, backend: Backend, lease: Lease, ending: Ending, log: Log, *, interval: float, margin: float
    ) -> None:
        self._backend, self._lease, self._ending, self._log = backend, lease, ending, log
        self._interval, self._margin = interval, margin
        self._over = threading.Event()
        self._settling = threading.Lock()
        self._lost = ""
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(LOOK_SECONDS)

    def check(self) -> None:
        """Raises LeaseLostError once the job is not ours any more."""
        if self._lost:
            raise LeaseLostError(self._lost)

    def wait(self, seconds: float) -> None:
        """Sleep; the loss of the lease ends it early and is raised."""
        self._over.wait(seconds)
        self.check()

    def confirm(self, beat: Callable[[Lease], None], seconds: float) -> None:
        """Ask the backend now whether the lease is still ours, for so many seconds; raises as `settle` does."""
        self.check()
        try:
            persist(lambda: beat(self._lease), min(seconds, max(1.0, self._ending.left())), self.wait)
        except RefusedError as refused:
            if refused.status in GONE:
                self._lose(str(refused))
            self.check()
            raise

    def settle(self, call: Callable[[Lease], None], seconds: float) -> None:
        """Tell the backend how the job ended, trying for so many seconds.

        Nobody gives the job back from now on, not even when this fails: the backend may have heard it, keeps the token
        on a completed row, and would hand the job out again. Raises LeaseLostError when it is too late, AwayError when
        the backend stays away.
        """
        with self._settling:
            self.check()
            self._over.set()
            try:
                persist(lambda: call(self._lease), min(seconds, max(1.0, self._ending.left())))
            except RefusedError as refused:
                if refused.status not in GONE:
                    raise
                raise LeaseLostError(str(refused)) from refused

    def _keep(self) -> None:
        due = time.monotonic() + self._interval
        while not self._over.wait(max(0.0, min(LOOK_SECONDS, due - time.monotonic()))):
            if self._ending.left() <= self._margin:
                self._give_back()
                return
            if time.monotonic() >= due:
                due = time.monotonic() + self._beat()

    def _beat(self) -> float:
        """Seconds to the next heartbeat: sooner after one that did not arrive."""
        try:
            self._backend.heartbeat(self._lease)
        except RefusedError as refused:
            if refused.status in GONE:
                self._lose(str(refused))
        except AwayError as away:
            self._log.say("heartbeat_missed", dispatch_id=self._lease.dispatch_id, error=str(away))
            return min(self._interval, 5.0)
        return self._interval

    def _give_back(self) -> None:
        """The control plane acts before us as a rule; then the token is gone, and so is our concern."""
        with self._settling:
            if self._over.is_set():
                return
            try:
                persist(lambda: self._backend.requeue(self._lease, self._ending.reason), self._ending.left())
            except RefusedError as refused:
                self._lose(str(refused))
            except AwayError as away:
                self._lose(f"could not be given back: {away}")
            else:
                self._log.say("requeued", dispatch_id=self._lease.dispatch_id, why=self._ending.reason)
                self._lose(f"given back: {self._ending.reason}")

    def _lose(self, why: str) -> None:
        self._lost = why
        self._over.set()
