"""`--self-test`: what can be known before the image is taken, without a network, a GPU or a secret."""

from __future__ import annotations

import hashlib
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import certifi

from comfyui_worker.cache import AssetCache
from comfyui_worker.settings import Settings
from comfyui_worker.state import State
from comfyui_worker.workflow import graph

SAMPLE = {
    "API_BASE_URL": "https://example.invalid/",
    "WORKER_ID": "i-0123456789abcdef0",
    "FLEET_SECRET": "sample",
    "WORKFLOW_SLUGS": "image-to-video,face-swap",
}


def python_is_recent() -> bool:
    return sys.version_info >= (3, 11)


def certificates_are_here() -> bool:
    return Path(certifi.where()).stat().st_size > 0


def settings_can_be_read() -> bool:
    return Settings.read(SAMPLE).workflow_slugs == ("image-to-video", "face-swap")


def token_is_kept_for_us_alone() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        state = State(Path(folder), "i-0")
        state.keep_token("sample")
        mode = stat.S_IMODE((Path(folder) / "token.json").stat().st_mode)
        return state.token() == "sample" and mode == 0o600


def assets_are_cached() -> bool:
    content = b"sample"
    key = hashlib.sha256(content).hexdigest()
    with tempfile.TemporaryDirectory() as folder:
        cache = AssetCache(Path(folder), 1000)
        with cache.scratch() as scratch:
            return cache.get(key, Path(scratch), lambda path: _write(path, content)).read_bytes() == content


def _write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def workflows_are_filled() -> bool:
    return graph({"workflow": {"1": {"inputs": {"image": "__INPUT_PATH__"}}}}, {"__INPUT_PATH__": "a.png"}) == {
        "1": {"inputs": {"image": "a.png"}}
    }


CHECKS: tuple[Callable[[], bool], ...] = (
    python_is_recent,
    certificates_are_here,
    settings_can_be_read,
    token_is_kept_for_us_alone,
    assets_are_cached,
    workflows_are_filled,
)


def run() -> bool:
    """Says each result on a line of its own; whether all are good."""
    results = [(check.__name__.replace("_", " "), check()) for check in CHECKS]
    for name, good in results:
        sys.stdout.write(f"{'ok    ' if good else 'FAILED'}  {name}\n")
    return all(good for _, good in results)
