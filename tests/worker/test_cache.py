import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from comfyui_worker.cache import AssetCache
from comfyui_worker.errors import JobFailedError

from .stand import Stand


class Source:
    """Assets to fetch; counts how often."""

    def __init__(self) -> None:
        self.fetched: list[bytes] = []

    def fetch(self, content: bytes) -> Callable[[Path], str]:
        def fetch(path: Path) -> str:
            self.fetched.append(content)
            path.write_bytes(content)
            return hashlib.sha256(content).hexdigest()

        return fetch


def key(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def source() -> Source:
    return Source()


def ask(cache: AssetCache, source: Source, content: bytes) -> bytes:
    with cache.scratch() as scratch:
        return cache.get(key(content), Path(scratch), source.fetch(content)).read_bytes()


def test_an_asset_is_fetched_once_also_by_the_next_process(tmp_path: Path, source: Source) -> None:
    for _ in range(2):
        cache = AssetCache(tmp_path, 1000)
        assert ask(cache, source, b"model") == ask(cache, source, b"model") == b"model"
    assert source.fetched == [b"model"]


def test_the_least_used_goes_when_the_bound_is_reached(tmp_path: Path, source: Source) -> None:
    cache = AssetCache(tmp_path, 25)
    for content in (b"a" * 10, b"b" * 10):
        ask(cache, source, content)
        os.utime(tmp_path / "assets" / key(content), ns=(1, 1 if content[:1] == b"a" else 2))
    ask(cache, source, b"a" * 10)  # used again: b is the older one now
    ask(cache, source, b"c" * 10)
    kept = {path.name for path in (tmp_path / "assets").iterdir()}
    assert kept == {key(b"a" * 10), key(b"c" * 10)}


def test_an_asset_larger_than_the_bound_is_used_and_not_kept(tmp_path: Path, source: Source) -> None:
    cache = AssetCache(tmp_path, 5)
    assert ask(cache, source, b"too large") == b"too large"
    assert list((tmp_path / "assets").iterdir()) == []


NO_SHA256 = ["../../etc/passwd", "", ".", "..", "a/b", "x" * 300, "d41d8cd98f00b204e9800998ecf8427e", "\ud800"]


@pytest.mark.parametrize("name", NO_SHA256)
def test_what_cannot_be_verified_is_never_a_path_and_never_the_next_jobs(
    tmp_path: Path, source: Source, name: str
) -> None:
    """`..` is a directory that is there; and what one tenant stored under another's MD5 would be served to that one."""
    cache = AssetCache(tmp_path, 1000)
    for content in (b"one tenant's", b"the next one's"):
        with cache.scratch() as scratch:
            file = cache.get(name, Path(scratch), source.fetch(content))
            assert file.read_bytes() == content
            assert file.parent == Path(scratch)
    assert list((tmp_path / "assets").iterdir()) == []


def test_content_that_is_not_what_its_hash_says_is_refused_and_not_kept(tmp_path: Path, source: Source) -> None:
    cache = AssetCache(tmp_path, 1000)
    with cache.scratch() as scratch, pytest.raises(JobFailedError):
        cache.get(key(b"good"), Path(scratch), source.fetch(b"bad"))
    assert ask(cache, source, b"good") == b"good"


def test_what_a_dead_process_left_half_done_is_removed(tmp_path: Path) -> None:
    left = AssetCache(tmp_path, 1000).scratch()
    (Path(left.name) / "half").write_bytes(b"x")
    AssetCache(tmp_path, 1000)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_jobs_share_an_asset_and_every_one_gets_it(stand: Stand) -> None:
    """The fake storage's assets have their path as content."""
    path = "/storage/assets/style.safetensors"
    asset = {"placeholder": "__STYLE__", "download_url": "assets/style.safetensors", "content_hash": key(path.encode())}
    workflow = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "__STYLE__"}},
        "9": {"class_type": "SaveVideo", "inputs": {}},
    }
    jobs = [stand.submit(number, 0.1, assets=[asset], workflow=workflow) for number in (1, 2)]
    stand.start()
    stand.until(lambda: all(stand.status(job) == "completed" for job in jobs))
    assert stand.storage.downloads.count(path) == 1
    assert len(stand.instance().comfyui.submitted) == 2
