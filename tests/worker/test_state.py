"""What a process leaves on disk for the next, and what the next makes of it."""

import errno
import stat
from pathlib import Path

import pytest
from comfyui_worker.jobs import Lease
from comfyui_worker.state import State

from .stand import Stand

BROKEN = 1


def files(folder: Path) -> list[Path]:
    return [folder / "token.json", folder / "lease.json"]


@pytest.mark.parametrize(
    "content",
    [b"", b'{"worker_id": "i-1", "tok', b"\0" * 40, b"\xff\xfe\x80", b"[]", b'{"worker_id": "i-1"}', b"null"],
    ids=["empty", "half", "zeros", "no text", "a list", "nothing in it", "null"],
)
def test_a_file_that_a_crash_left_damaged_counts_as_absent(tmp_path: Path, content: bytes) -> None:
    for file in files(tmp_path):
        file.write_bytes(content)
    assert (State(tmp_path, "i-1").token(), State(tmp_path, "i-1").lease()) == ("", None)


def test_what_is_kept_is_replaced_as_a_whole_and_for_us_alone(tmp_path: Path) -> None:
    state = State(tmp_path, "i-1")
    for file in files(tmp_path):
        file.with_suffix(".new").write_text("left half done")
    for token in ("first", "second"):
        state.keep_token(token)
    state.keep_lease(Lease(7, "t"))
    assert (state.token(), state.lease()) == ("second", Lease(7, "t"))
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    assert sorted(tmp_path.iterdir()) == sorted(files(tmp_path))


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = State(tmp_path, "i-1")
    state.keep_token("first")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        state.keep_token("second")
    assert state.token() == "first"


# -- a disk that is full ---------------------------------------------------------------------------------------------


def test_a_job_that_does_not_fit_on_the_disk_goes_back_at_no_cost_and_ends_the_worker(stand: Stand) -> None:
    stand.storage.inputs[1] = b"x" * 5_000_000
    dispatch = stand.submit(1, 0.1)
    stand.start("i-1", largest_file=1_000_000)
    assert stand.exit_code("i-1") == BROKEN
    assert stand.job(dispatch)["last_error"] == "Requeued: worker_trouble"
    assert stand.job(dispatch)["attempts"] == 0
    stand.start("i-2")
    stand.until(lambda: stand.status(dispatch) == "completed")


def test_a_lease_that_cannot_be_written_down_goes_back_too(stand: Stand) -> None:
    """The next process could not: it would not know of it."""
    stand.start()
    stand.until(lambda: "registered" in stand.events())
    (stand.folder / "i-1/state/lease.new").mkdir()  # what a file cannot be written over
    dispatch = stand.submit(1, 0.1)
    assert stand.exit_code() == BROKEN
    assert stand.audits(dispatch) == ["poll", "requeued"]


def test_a_token_that_cannot_be_written_down_is_not_left_at_the_backend(stand: Stand) -> None:
    """With its row there and no token on disk, no process of this instance would ever be let in again."""
    blocked = stand.folder / "i-1/state/token.new"
    blocked.mkdir(parents=True)
    stand.start()
    assert stand.exit_code() == BROKEN
    assert stand.workers() == []
    blocked.rmdir()
    stand.start()
    stand.until(lambda: stand.workers() == ["i-1"])
