"""What every custom resource owes CloudFormation: one answer on every path, and a stable name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from fleet_control.act.cloudformation import Answer, Send, put
from fleet_control.errors import BadEvent, FleetControlError
from fleet_control.messages.cloudformation import CustomResourceRequest
from fleet_control.telemetry import Recorder

Data = Mapping[str, str]


@dataclass(frozen=True)
class Invocation:
    """`remaining_seconds` until Lambda ends it, `log_stream` for the operator who reads a failure."""

    remaining_seconds: float
    log_stream: str
    recorder: Recorder
    send: Send = put

    @classmethod
    def of(cls, context: Any, recorder: Recorder) -> Invocation:
        """From Lambda's context object."""
        return cls(context.get_remaining_time_in_millis() / 1000, context.log_stream_name, recorder)


def respond(
    request: CustomResourceRequest, invocation: Invocation, *, bring_up: Callable[[], Data], kept: str
) -> Data | None:
    """Create and Update are the same work; Delete keeps everything and so cannot fail.

    `kept` says what Delete leaves alone. Gives the work's data; None after a failure that was answered. Called by
    hand, without a URL, a failure is raised instead.
    """
    work = partial(_do, request, bring_up, kept, invocation.recorder)
    if not request.response_url:
        return work()
    answer = Answer(
        url=request.response_url,
        stack_id=request.stack_id,
        request_id=request.request_id,
        logical_id=request.logical_id,
        physical_id=physical_id(request),
        send=invocation.send,
    )
    with answer.before_timeout(invocation.remaining_seconds):
        return _answered(work, answer, invocation)


def physical_id(request: CustomResourceRequest) -> str:
    """Never changes with the properties: a changed id would make CloudFormation delete the old one."""
    return request.physical_id or f"{request.stack_id.rpartition('/')[0].rpartition('/')[2]}-{request.logical_id}"


def _do(request: CustomResourceRequest, bring_up: Callable[[], Data], kept: str, recorder: Recorder) -> Data:
    if request.request_type == "Delete":
        recorder.decision(rule="delete", reason=f"{kept} stay as they are")
        return {}
    if request.request_type not in ("Create", "Update"):
        raise BadEvent(f"RequestType {request.request_type[:40]!r} is none of Create, Update, Delete")
    return bring_up()


def _answered(work: Callable[[], Data], answer: Answer, invocation: Invocation) -> Data | None:
    try:
        data = work()
    except Exception as error:  # noqa: BLE001 - whatever it is, CloudFormation waits for an answer
        # Logged, answered, and not raised: a repeated invocation would be answered to nobody.
        invocation.recorder.failure(error)
        answer.failed(_reason(error, invocation.log_stream))
        return None
    answer.success(data)
    return data


def _reason(error: Exception, log_stream: str) -> str:
    """Our own texts are free of secrets; of anybody else's error only the type is passed on."""
    text = str(error) if isinstance(error, FleetControlError) else type(error).__name__
    return f"{text} (log stream {log_stream})"
