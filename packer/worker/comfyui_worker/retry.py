"""The one way to ask again: exponential, with jitter, so that a fleet that was cut off does not return in step."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from comfyui_worker.errors import AwayError, RefusedError

T = TypeVar("T")
THROTTLED = 429


def pauses(first: float, longest: float) -> Iterator[float]:
    """Seconds to wait before each next try: between half and the whole of a span that doubles up to `longest`."""
    span = first
    while True:
        yield random.uniform(span / 2, span)  # noqa: S311 - spreads load, guards nothing
        span = min(2 * span, longest)


def persist(call: Callable[[], T], seconds: float, pause: Callable[[float], object] = time.sleep) -> T:
    """Call again while the other side is away or throttles, for so many seconds; then its error is raised."""
    end = time.monotonic() + seconds
    for wait in pauses(0.5, 5.0):
        try:
            return call()
        except (AwayError, RefusedError) as error:
            if _final(error) or time.monotonic() + wait > end:
                raise
            pause(wait)
    raise AssertionError("pauses() never ends")


def _final(error: AwayError | RefusedError) -> bool:
    return isinstance(error, RefusedError) and error.status != THROTTLED
