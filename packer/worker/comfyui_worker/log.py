"""One JSON object a line on stdout; the CloudWatch agent ships the journal. Nothing secret is ever a field."""

from __future__ import annotations

import json
import sys
import threading
from datetime import UTC, datetime
from typing import Any


class Log:
    """Says what happens; `worker_id` is on every line. Safe to use from every thread."""

    def __init__(self, worker_id: str) -> None:
        self._worker_id = worker_id
        self._lock = threading.Lock()

    def say(self, event: str, **fields: Any) -> None:
        """`event` is one of few fixed words; numbers and names go into fields."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        entry = {"timestamp": now, "worker_id": self._worker_id, "event": event, **fields}
        with self._lock:
            sys.stdout.write(json.dumps(entry, default=str) + "\n")
            sys.stdout.flush()
