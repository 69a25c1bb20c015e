"""Assets that many jobs share, kept on disk by content hash up to a number of bytes; the least used go first."""

from __future__ import annotations

import re
import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

from comfyui_worker.errors import JobFailedError

SHA256 = re.compile(r"[0-9a-f]{64}")
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

        One whose hash is not a SHA-256 is fetched each time: nobody could tell whether what is kept under it is what
        the next tenant means. Raises JobFailedError when the content has another SHA-256 than was promised.
        """
        key = content_hash.lower().removeprefix("sha256:")
        if not SHA256.fullmatch(key):
            new = scratch / f"asset-{uuid.uuid4()}"
            fetch(new)
            return new
        kept = self._files / key
        if kept.exists():
            kept.touch()
            return kept
        new = scratch / f"asset-{key}"
        if fetch(new) != key:
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
