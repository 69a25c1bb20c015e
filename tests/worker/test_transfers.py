"""Files between storage, worker and ComfyUI: how much of them, from where, and what is said when it does not work."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from comfyui_worker.backend import new_session
from comfyui_worker.comfyui import ComfyUi
from comfyui_worker.errors import JobFailedError
from comfyui_worker.settings import Settings
from comfyui_worker.transfer import download, storage_session, upload

from .stand import Stand

LARGE = 192 << 20
UNIT = Path(__file__).parents[2] / "packer/files/comfyui.service"


def memory(pid: int) -> int:
    """The most that a process has ever had resident, in bytes."""
    [kilobytes] = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(kilobytes) << 10


def test_a_large_input_is_never_in_memory_as_a_whole(stand: Stand) -> None:
    stand.storage.inputs[1] = b"\0" * LARGE
    dispatch = stand.submit(1, 0.1)
    worker = stand.start(COMFYUI_PATIENCE_SECONDS="60")
    stand.until(lambda: stand.status(dispatch) == "completed", 60)
    assert [size for size, _ in stand.instance().comfyui.inputs.values()] == [LARGE]
    assert memory(worker.pid) < LARGE / 2


class Quiet(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        pass


class Streams(Quiet):
    """Gives and takes LARGE bytes, piece by piece."""

    received = 0

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(LARGE))
        self.end_headers()
        for _ in range(LARGE >> 20):
            self.wfile.write(b"\0" * (1 << 20))

    def do_PUT(self) -> None:
        left = int(self.headers["Content-Length"])
        while left and (piece := self.rfile.read(min(left, 1 << 20))):
            left -= len(piece)
            Streams.received += len(piece)
        self.send_response(200)
        self.end_headers()


class Elsewhere(Quiet):
    """Sends everybody to the metadata service of some machine."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(307)
        self.send_header("Location", "http://127.0.0.1:9/latest/meta-data/")
        self.end_headers()

    do_PUT = do_GET  # noqa: N815 - http.server's name


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_an_output_goes_from_comfyui_to_storage_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    largest: list[int] = []
    send = socket.socket.sendall

    def noted(self: socket.socket, data: bytes, *rest: int) -> None:
        largest.append(len(data))
        send(self, data, *rest)

    result = tmp_path / "output"
    with serving(Streams) as url:
        ComfyUi(url, "i-1", 20).view({"filename": "a.mp4"}, result, max_bytes=LARGE)
        monkeypatch.setattr(socket.socket, "sendall", noted)
        upload(new_session(), url, {}, result, lambda: None)
    assert (result.stat().st_size, Streams.received) == (LARGE, LARGE)
    assert max(largest) <= 1 << 20


def test_more_than_a_file_may_be_ends_the_job_and_not_the_disk(stand: Stand) -> None:
    """As somebody else's trouble it would go back, fill the next disk, and cost one instance after the other."""
    stand.storage.inputs[1] = b"x" * 3_000_000
    dispatch, after = stand.submit(1, 0.1), stand.submit(2, 0.1)
    stand.start(INPUT_MAX_BYTES="2000000")
    stand.until(lambda: stand.status(after) == "completed")
    assert stand.job(dispatch)["last_error"] == "the input is larger than 2000000 bytes"


def test_many_files_end_the_job_as_a_large_one_does(stand: Stand) -> None:
    assets = [{"placeholder": f"__{number}__", "download_url": f"assets/{number}"} for number in range(9)]
    dispatch, after = stand.submit(1, 0.1, assets=assets), stand.submit(2, 0.1)
    stand.start(JOB_MAX_BYTES="100")
    stand.until(lambda: stand.status(after) == "completed")
    assert stand.job(dispatch)["last_error"] == "the files of the job are larger than 100 bytes"
    assert len(stand.storage.downloads) < len(assets)


def test_an_output_that_storage_would_not_take_ends_the_job_and_not_the_disk(stand: Stand) -> None:
    dispatch = stand.submit(1, 0.1)
    stand.start(OUTPUT_MAX_BYTES="99999")
    stand.until(lambda: stand.status(dispatch) == "failed")
    assert stand.job(dispatch)["last_error"] == "the output is larger than 99999 bytes"
    assert stand.processes["i-1"].poll() is None


def test_comfyui_accepts_what_the_worker_does() -> None:
    [megabytes] = re.findall(r"--max-upload-size (\d+)", UNIT.read_text())
    assert int(megabytes) << 20 == Settings.input_max_bytes


def test_nobody_is_sent_elsewhere_by_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with serving(Elsewhere) as url:
        with pytest.raises(JobFailedError, match="storage answers HTTP 307"):
            download(new_session(), url, file, "input", lambda: None, max_bytes=10)
        file.write_bytes(b"result")
        with pytest.raises(JobFailedError, match="storage answers HTTP 307"):
            upload(new_session(), url, {}, file, lambda: None)


NOT_HTTPS = ["file:///etc/passwd", "ftp://127.0.0.1/a", "http:///a", "https:///a", "", "HTTP://169.254.169.254/latest/"]


@pytest.mark.parametrize("url", NOT_HTTPS)
def test_an_address_that_is_not_https_reads_nothing_from_this_machine(tmp_path: Path, url: str) -> None:
    session = storage_session(Settings.storage_prefix)
    with pytest.raises(JobFailedError, match="the input has an address that is not served"):
        download(session, url, tmp_path / "file", "input", lambda: None, max_bytes=10)
    (tmp_path / "file").write_bytes(b"result")
    with pytest.raises(JobFailedError, match="the output has an address that is not served"):
        upload(session, url, {}, tmp_path / "file", lambda: None)


def test_a_job_cannot_have_the_worker_ask_the_machines_own_services(stand: Stand) -> None:
    """ComfyUI has the files of other tenants' jobs under names that can be guessed."""
    before = stand.submit(1, 0.1)
    stand.start()
    stand.until(lambda: stand.status(before) == "completed")
    prompt = next(iter(stand.instance().comfyui._prompts))
    stand.storage._asset = lambda base, asset: dict(asset)  # type: ignore[method-assign]
    url = f"{stand.site.base('i-1')}/comfyui/view?filename={prompt}.mp4"
    dispatch = stand.submit(2, 0.1, assets=[{"placeholder": "__A__", "download_url": url}])
    stand.until(lambda: stand.status(dispatch) == "failed")
    assert stand.job(dispatch)["last_error"] == "the asset has an address that is not served"


def test_an_output_address_that_expired_meanwhile_fails_the_job_without_showing_it(stand: Stand) -> None:
    stand.storage.valid_seconds = 2
    dispatch = stand.submit(1, 3.0)
    stand.start()
    stand.until(lambda: stand.status(dispatch) == "failed", 15)
    assert stand.job(dispatch)["last_error"] == "the output could not be transferred: storage answers HTTP 403"
    assert stand.audits(dispatch) == ["poll", "fail"]
    assert "Signature" not in stand.log("i-1").read_text()
