"""The answer to CloudFormation over real HTTP: one PUT, retried, and in time."""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from fleet_control.act import cloudformation
from fleet_control.act.cloudformation import Answer, AnswerNotSent, put
from fleet_control.errors import BadEvent


class Desk:
    """Stands where CloudFormation waits; answers with the given codes, then 200."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.bodies: list[dict[str, object]] = []
        self.content_types: list[str | None] = []
        desk = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                desk.content_types.append(self.headers["Content-Type"])
                code = desk.codes.pop(0) if desk.codes else 200
                if code == 200:
                    desk.bodies.append(json.loads(body))
                self.send_response(code)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/stack?X-Amz-Signature=hunter2"


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    thread = Thread(target=desk.server.serve_forever, args=(0.02,))
    thread.start()
    yield desk
    desk.server.shutdown()
    desk.server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloudformation, "BACKOFF_SECONDS", 0.001)


def answer(desk: Desk) -> Answer:
    return Answer(desk.url, "arn:stack", "request-1", "TenantPools", "bp-staging-TenantPools")


def test_success_carries_everything_cloudformation_needs(desk: Desk) -> None:
    answer(desk).success({"PendingGrants": ""})
    assert desk.bodies == [
        {
            "Status": "SUCCESS",
            "Reason": "",
            "PhysicalResourceId": "bp-staging-TenantPools",
            "StackId": "arn:stack",
            "RequestId": "request-1",
            "LogicalResourceId": "TenantPools",
            "Data": {"PendingGrants": ""},
        }
    ]


def test_the_content_type_is_empty_as_the_signature_demands(desk: Desk) -> None:
    answer(desk).success({})
    assert desk.content_types == [""]


def test_a_request_is_answered_once_whatever_comes_after(desk: Desk) -> None:
    once = answer(desk)
    once.failed("first")
    once.success({})
    assert [body["Status"] for body in desk.bodies] == ["FAILED"]


def test_a_long_reason_is_cut_to_fit(desk: Desk) -> None:
    answer(desk).failed("x" * 10_000)
    assert len(json.dumps(desk.bodies[0])) < 4_096


def test_a_refused_put_is_repeated(desk: Desk) -> None:
    desk.codes = [503, 500]
    answer(desk).success({})
    assert len(desk.bodies) == 1


def test_an_answer_that_cannot_be_sent_fails_without_showing_the_signature(desk: Desk) -> None:
    desk.codes = [403] * 10
    with pytest.raises(AnswerNotSent) as caught:
        answer(desk).success({})
    assert "hunter2" not in str(caught.value)


def test_a_url_that_is_a_file_is_refused() -> None:
    with pytest.raises(BadEvent):
        put("file:///etc/passwd", b"{}")


def test_work_that_does_not_end_is_answered_before_the_time_is_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloudformation, "MARGIN_SECONDS", 0.5)
    late = answer(desk)
    with late.before_timeout(0.6):
        time.sleep(0.4)
        late.success({})
    assert [(body["Status"], body["Reason"]) for body in desk.bodies] == [
        ("FAILED", "ran out of time; the function's log says at what")
    ]


def test_work_that_ends_in_time_is_answered_only_by_its_outcome(desk: Desk) -> None:
    timely = answer(desk)
    with timely.before_timeout(60):
        timely.success({})
    time.sleep(0.05)
    assert [body["Status"] for body in desk.bodies] == ["SUCCESS"]
