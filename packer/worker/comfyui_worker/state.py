"""What must outlive the process: the token, and the lease under way. Files of mode 600 in one directory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from comfyui_worker.jobs import Lease


class State:
    """Of one worker id: files of another (an image made from an instance that had served) count as absent."""

    def __init__(self, directory: Path, worker_id: str) -> None:
        self._token, self._lease = directory / "token.json", directory / "lease.json"
        self._worker_id = worker_id
        directory.mkdir(parents=True, exist_ok=True)

    def token(self) -> str:
        """Empty when there is none."""
        return str(self._read(self._token).get("token", ""))

    def keep_token(self, token: str) -> None:
        self._write(self._token, {"token": token})

    def forget_token(self) -> None:
        self._token.unlink(missing_ok=True)

    def lease(self) -> Lease | None:
        """The lease that a process before this one held when it ended without a word."""
        kept = self._read(self._lease)
        try:
            return Lease(int(kept["dispatch_id"]), str(kept["lease_token"]))
        except (KeyError, TypeError, ValueError):
            return None

    def keep_lease(self, lease: Lease) -> None:
        self._write(self._lease, {"dispatch_id": lease.dispatch_id, "lease_token": lease.token})

    def forget_lease(self) -> None:
        self._lease.unlink(missing_ok=True)

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # a file that a crash left half written, in zeros or in no text at all
            return {}
        return kept if isinstance(kept, dict) and kept.get("worker_id") == self._worker_id else {}

    def _write(self, path: Path, content: dict[str, Any]) -> None:
        """Whole or not at all, and never readable by others, not even for a moment."""
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump({"worker_id": self._worker_id, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
