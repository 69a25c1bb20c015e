"""That this machine or process is about to end, and when."""

from __future__ import annotations

import math
import threading
import time


class Ending:
    """Announced by a Spot notice or a signal; the earliest announced end counts. Times are of the monotonic clock."""

    def __init__(self) -> None:
        self._begun = threading.Event()
        self._lock = threading.Lock()
        self._at = math.inf
        self.reason = ""

    def announce(self, seconds: float, reason: str) -> bool:
        """The end is `seconds` from now. False when it had been announced before for that time or sooner."""
        with self._lock:
            at = time.monotonic() + seconds
            if at >= self._at - 1.0:  # the same notice, read again
                return False
            self._at, self.reason = at, self.reason or reason
            self._begun.set()
            return True

    @property
    def begun(self) -> bool:
        return self._begun.is_set()

    def left(self) -> float:
        """Seconds to the end, infinite when none is announced; below zero when it has passed."""
        with self._lock:
            return self._at - time.monotonic()

    def wait(self, seconds: float) -> bool:
        """Sleep, but not beyond the announcement of an end; whether one is announced."""
        return self._begun.wait(seconds)
