"""Assets that many jobs share, kept on disk by content hash up to a number of bytes; the least used go first."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from comfyui_worker.errors import JobFailedError

SHA256 = re.compile(r"[0-9a-f]{64}")
SAFE = re.compile(r"[A-Za-z0-9_.-]{1,128}")
Fetch = Callable[[Path], str]


class AssetCache:
    """One process uses a directory at a time. What a dead process left half done is removed at the start."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._files, self._scratch = directory / "assets", directory / "scratch"
        self._max_bytes = max_bytes
        shutil.rmtree(self._scratch, ignore_errors=True)
        for folder in (self._files, self._scratch):
            folder.mkdir(parents=True, exist_ok=True)

    def scratch(self) -> tempfile.TemporaryDirectory[str]:
        """A directory for one job, on the same file system, gone when the job is."""
        return tempfile.TemporaryDirectory(dir=self._scratch)

    def get(self, content_hash: str, scratch: Path, fetch: Fetch) -> Path:
        """The asset's file; `fetch(path)` writes it when it is not here and gives its SHA-256.

        Raises JobFailedError when a SHA-256 was promised and the content has another.
        """
        key = content_hash.lower().removeprefix("sha256:")
        kept = self._files / key
        if not SAFE.fullmatch(key):
            raise JobFailedError("an asset has a content hash that is none")
        if kept.exists():
            kept.touch()
            return kept
        new = scratch / f"asset-{key}"
        found = fetch(new)
        if SHA256.fullmatch(key) and found != key:
            raise JobFailedError("an asset is not what its content hash says")
        return self._keep(new, kept)

    def _keep(self, new: Path, kept: Path) -> Path:
        """One larger than the whole bound serves its job and is not kept."""
        size = new.stat().st_size
        if size > self._max_bytes:
            return new
        self._make_room(size)
        return new.replace(kept)

    def _make_room(self, size: int) -> None:
        files = sorted(((path.stat(), path) for path in self._files.iterdir()), key=lambda pair: pair[0].st_mtime_ns)
        over = sum(stat.st_size for stat, _ in files) + size - self._max_bytes
        for stat, path in files:
            if over <= 0:
                return
            path.unlink()
            over -= stat.st_size
