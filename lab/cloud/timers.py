"""One thread that does things later."""

from __future__ import annotations

import heapq
import itertools
import sys
import threading
import time
import traceback
from collections.abc import Callable

Action = Callable[[], None]


class Timers:
    """Runs short actions in one thread, each at its time. An action that raises is reported and not repeated."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Action]] = []
        self._order = itertools.count()
        self._wake = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._run, name="timers", daemon=True)
        self._thread.start()

    def after(self, seconds: float, action: Action) -> None:
        with self._wake:
            heapq.heappush(self._heap, (time.monotonic() + seconds, next(self._order), action))
            self._wake.notify()

    def every(self, seconds: float, action: Action, first: float = 0.0) -> None:
        """Repeat without drift: the n-th run is due `first + n * seconds` from now, however long the runs take."""
        start = time.monotonic() + first

        def run(turn: int = 0) -> None:
            self.after(start + (turn + 1) * seconds - time.monotonic(), lambda: run(turn + 1))
            action()

        self.after(first, run)

    def _run(self) -> None:
        while (action := self._next()) is not None:
            try:
                action()
            except Exception:  # noqa: BLE001 - one broken action must not stop the world's clock; it is shown
                traceback.print_exc(file=sys.stderr)

    def _next(self) -> Action | None:
        with self._wake:
            while self._open:
                wait = self._heap[0][0] - time.monotonic() if self._heap else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._heap)[2]
                self._wake.wait(wait)
            return None

    def close(self) -> None:
        with self._wake:
            self._open = False
            self._wake.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(5)
