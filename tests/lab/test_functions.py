"""The Lambda service keeps Lambda's promises: contract of the runtime, errors, time-outs, concurrency, retries."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from lab.cloud import journal as journals
from lab.cloud.functions import FakeLambda, Function, LambdaService, Result, ThrottledError

from .conftest import Write

ECHO = """
    import os
    def handler(event, context):
        print("hello from the function")
        return {"event": event, "pid": os.getpid(), "name": context.function_name, "arn": context.invoked_function_arn,
                "left": context.get_remaining_time_in_millis(), "stage": os.environ.get("STAGE")}
"""
FAILS = """
    class JobLost(Exception):
        pass
    def handler(event, context):
        raise JobLost("no such job")
"""


def answer(result: Result) -> dict[str, object]:
    loaded = json.loads(result.payload)
    assert isinstance(loaded, dict)
    return loaded


def test_a_handler_gets_its_event_its_context_and_its_variables(
    service: LambdaService, write_function: Write, tmp_path: Path
) -> None:
    service.add(write_function("echo", ECHO, timeout=20, variables={"STAGE": "staging"}))
    said = answer(service.invoke("echo", b'{"a": 1}'))
    assert (said["event"], said["name"], said["stage"]) == ({"a": 1}, "echo", "staging")
    assert str(said["arn"]).endswith(":function:echo")
    assert 0 < int(str(said["left"])) <= 20_000
    assert "hello from the function" in (tmp_path / "logs" / "echo.log").read_text()


def test_a_warm_environment_is_used_again(service: LambdaService, write_function: Write) -> None:
    service.add(write_function("echo", ECHO))
    service.warm()
    assert answer(service.invoke("echo", b"{}"))["pid"] == answer(service.invoke("echo", b"{}"))["pid"]


def test_an_exception_comes_back_as_a_function_error_with_its_type(
    service: LambdaService, write_function: Write, journal: journals.Journal, tmp_path: Path
) -> None:
    service.add(write_function("fails", FAILS))
    result = service.invoke("fails", b"{}")
    assert (result.error, result.error_type, answer(result)["errorMessage"]) == ("Unhandled", "JobLost", "no such job")
    [entry] = journals.read(tmp_path / "journal.jsonl")
    assert (entry["kind"], entry["function"], entry["error"]["errorType"]) == ("invocation", "fails", "JobLost")


def test_a_handler_that_cannot_be_imported_says_why(service: LambdaService, write_function: Write) -> None:
    service.add(write_function("broken", "import no_such_module_anywhere\n"))
    result = service.invoke("broken", b"{}")
    assert result.error_type == "Runtime.ImportModuleError"
    assert "no_such_module_anywhere" in result.payload.decode()


def test_a_function_is_killed_at_its_timeout_and_the_next_call_starts_afresh(
    service: LambdaService, write_function: Write
) -> None:
    body = """
        import os, time
        def handler(event, context):
            time.sleep(event["sleep"])
            return os.getpid()
    """
    service.add(write_function("slow", body, timeout=0.5, reserved=1))
    first = json.loads(service.invoke("slow", b'{"sleep": 0}').payload)
    late = service.invoke("slow", b'{"sleep": 30}')
    assert "Task timed out after 0.50 seconds" in late.payload.decode()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    assert json.loads(service.invoke("slow", b'{"sleep": 0}').payload) != first


def test_a_process_that_exits_is_an_error_not_a_hang(service: LambdaService, write_function: Write) -> None:
    service.add(write_function("exits", "import os\ndef handler(event, context):\n    os._exit(3)\n", timeout=20))
    assert service.invoke("exits", b"{}").error_type == "Runtime.ExitError"


def test_reserved_concurrency_throttles(service: LambdaService, write_function: Write) -> None:
    service.add(write_function("one", "import time\ndef handler(e, c):\n    time.sleep(1)\n", reserved=1))
    service.warm()
    busy = threading.Thread(target=service.invoke, args=("one", b"{}"))
    busy.start()
    time.sleep(0.2)
    with pytest.raises(ThrottledError):
        service.invoke("one", b"{}")
    busy.join()


def test_an_event_that_keeps_failing_is_given_up_after_two_retries(
    service: LambdaService, write_function: Write
) -> None:
    given_up: list[tuple[str, bytes, str, int]] = []
    gone = threading.Event()

    def note(function: Function, request_id: str, event: bytes, result: Result, attempts: int) -> None:
        given_up.append((function.name, event, result.error_type, attempts))
        gone.set()

    service.on_failure = note
    service.add(write_function("fails", FAILS))
    service.invoke_async("fails", b'{"n": 1}')
    assert gone.wait(20)
    assert given_up == [("fails", b'{"n": 1}', "JobLost", 3)]


def test_a_throttled_event_is_given_up_when_it_is_older_than_it_may_be(
    service: LambdaService, write_function: Write
) -> None:
    given_up: list[tuple[str, int, float]] = []
    gone, began = threading.Event(), time.monotonic()

    def note(_: Function, __: str, ___: bytes, result: Result, attempts: int) -> None:
        given_up.append((json.loads(result.payload)["errorType"], attempts, time.monotonic() - began))
        gone.set()

    service.on_failure = note
    service.add(write_function("none", ECHO, reserved=0, event_age=400))
    service.invoke_async("none", b"{}")
    assert gone.wait(10)
    [(error, attempts, seconds)] = given_up
    assert (error, attempts) == ("TooManyRequestsException", 0)
    assert 0.4 <= seconds < 5


def test_an_event_that_is_too_old_for_its_retry_is_given_up_after_the_first_attempt(
    service: LambdaService, write_function: Write
) -> None:
    attempts: list[int] = []
    gone = threading.Event()

    def note(*told: object) -> None:
        attempts.append(int(str(told[-1])))
        gone.set()

    service.on_failure = note
    service.add(write_function("fails", FAILS, event_age=60))
    service.warm()
    service.invoke_async("fails", b"{}")
    assert gone.wait(10)
    assert attempts == [1]


def test_closing_leaves_no_process_behind(service: LambdaService, write_function: Write) -> None:
    service.add(write_function("echo", ECHO))
    pid = int(str(answer(service.invoke("echo", b"{}"))["pid"]))
    service.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_fake_reports_an_exception_as_lambda_would() -> None:
    def boom(event: object) -> None:
        raise LookupError("nothing there")

    fake = FakeLambda({"boom": boom, "twice": lambda event: event * 2})
    assert fake.invoke("arn:aws:lambda:us-east-1:123456789012:function:twice", b"21").payload == b"42"
    assert fake.invoke("boom", b"{}").error_type == "LookupError"
    assert fake.calls == [("twice", 21), ("boom", {})]
