"""A backend that answers otherwise than it should, late, or not at all."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from comfyui_worker import backend as module
from comfyui_worker import notices
from comfyui_worker.backend import Backend
from comfyui_worker.ending import Ending
from comfyui_worker.errors import AwayError
from comfyui_worker.jobs import Lease
from comfyui_worker.log import Log
from comfyui_worker.metadata import Metadata, SpotNotice

from .test_transfers import Quiet, serving


def answering(body: str) -> type[Quiet]:
    class Answers(Quiet):
        heard: list[bytes] = []  # noqa: RUF012 - of this class alone

        def do_POST(self) -> None:  # noqa: N802 - http.server's name
            self.rfile.read(int(self.headers["Content-Length"]))
            self.heard.append(self.headers.get("X-Fleet-Secret", "").encode("latin-1"))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

    return Answers


@pytest.mark.parametrize(
    "body",
    [
        '{"data": {"job": {"lease_token": "t"}}}',
        '{"data": {"job": {"dispatch_id": "seven", "lease_token": "t"}}}',
        '{"data": {"job": [7]}}',
        '{"data": {"job": "7"}}',
        "<html>",
        "",
    ],
)
def test_a_job_that_cannot_be_read_is_no_job_and_ends_nobody(body: str) -> None:
    with serving(answering(body)) as url, pytest.raises(AwayError, match="poll"):
        Backend(url, "i-1", "token").poll(1, {})


@pytest.mark.parametrize("body", ["{}", '{"data": {"worker_id": "i-1"}}', '{"data": {"token": null}}'])
def test_a_registration_without_a_token_is_none(body: str) -> None:
    with serving(answering(body)) as url, pytest.raises(AwayError, match="without a token"):
        Backend(url, "i-1").register("secret", "name", ["slug"], {}, 1)


def test_a_secret_arrives_byte_for_byte() -> None:
    handler = answering('{"data": {"token": "t"}}')
    with serving(handler) as url:
        Backend(url, "i-1").register('"ž" \\ $(x)', "name", ["slug"], {}, 1)
    assert handler.heard == ['"ž" \\ $(x)'.encode()]  # type: ignore[attr-defined]


@pytest.fixture
def silent() -> Iterator[str]:
    """Takes every connection, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_heartbeat_without_an_answer_leaves_time_to_give_the_job_back(
    silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module.BEAT[1] < 10 < module.TIMEOUT[1], "the hand-back is due 10 s before the end"
    monkeypatch.setattr(module, "BEAT", (0.2, 0.2))
    began = time.monotonic()
    with pytest.raises(AwayError):
        Backend(silent, "i-1", "token").heartbeat(Lease(7, "t"))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(("ahead", "most"), [(3600, 120), (90, 90)], ids=["a clock that is behind", "a true one"])
def test_a_notice_is_never_believed_to_leave_more_than_two_minutes(ahead: float, most: float) -> None:
    class Warns:
        def spot_notice(self) -> SpotNotice:
            return SpotNotice("terminate", datetime.now(UTC) + timedelta(seconds=ahead))

    ending = Ending()
    look: Callable[[Any, Ending, Log], None] = notices._look
    look(cast("Metadata", Warns()), ending, Log("i-1"))
    assert most - 5 < ending.left() <= most
