"""AWS for one run: moto's server on a free port with the lab's supplements behind it."""

from __future__ import annotations

import json
import logging
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import boto3
from moto.moto_api._internal.models import moto_api_backend
from moto.sqs.models import sqs_backends

from lab.cloud import patches
from lab.cloud.alarms import AlarmEvaluator
from lab.cloud.calls import CallLog
from lab.cloud.events import EventBus, iso
from lab.cloud.functions import Function, Functions, LambdaService, Result
from lab.cloud.groups import AutoScaling, Pace
from lab.cloud.journal import Journal
from lab.cloud.machines import ExecutionWatch
from lab.cloud.names import ACCOUNT, REGION, access_key, function_arn
from lab.cloud.queues import QueuePollers
from lab.cloud.server import MotoServer
from lab.cloud.timers import Timers

MOTO_SETTINGS: dict[str, Any] = {"lambda": {"use_docker": False}, "stepfunctions": {"execute_state_machine": True}}


ONLY_ONE = threading.Lock()


class Cloud:
    """One emulated account. moto's backends are global to the process, so there is one cloud at a time.

    `functions` defaults to real processes; tests of machines and rules pass a FakeLambda. `scale` multiplies Lambda's
    retry delays, `pace` holds the seconds Auto Scaling takes, `port` is the endpoint's (0: any free one).
    """

    def __init__(
        self,
        run_dir: Path,
        functions: Functions | None = None,
        scale: float = 1.0,
        pace: Pace | None = None,
        *,
        port: int = 0,
    ) -> None:
        self.journal = Journal(run_dir / "journal.jsonl")
        self.lock = threading.RLock()
        self.timers = Timers()
        self.functions = functions or LambdaService(run_dir / "logs", self.journal, scale)
        self.bus = EventBus(self.functions, self.journal, self.lock)
        self.pollers = QueuePollers(self.functions, self.journal, self.lock)
        self.retry_scale = scale
        self.groups = AutoScaling(self.bus, self.journal, self.timers, self.lock, pace or Pace())
        self.calls = CallLog(self.journal)
        self.calls.know(["lab"])
        self.alarms = AlarmEvaluator(self.journal, self.lock)
        self._executions = ExecutionWatch(self.journal)
        self._server = MotoServer(port)
        self._clients: dict[tuple[str, str], Any] = {}
        self._patched = ExitStack()
        if isinstance(self.functions, LambdaService):
            self.functions.on_failure = self._keep_failure

    def start(self) -> None:
        """Raises RuntimeError when another cloud of this process is open."""
        if not ONLY_ONE.acquire(blocking=False):
            raise RuntimeError("another cloud is open: moto's backends are global to the process")
        self._patched.callback(ONLY_ONE.release)
        moto_api_backend.reset()
        self.groups.watch()
        supplements = patches.Supplements(self.functions, self.bus, self.calls, self.lock, self.groups)
        self._patched.enter_context(patches.configured(MOTO_SETTINGS))
        self._patched.enter_context(patches.applied(supplements))
        self._patched.enter_context(self._executions.watching())
        logging.getLogger("moto").setLevel(logging.CRITICAL)  # a state that fails is in the journal, with its cause
        self._server.start()

    @property
    def endpoint(self) -> str:
        return self._server.url

    def client(self, service: str, caller: str = "lab") -> Any:
        """A boto3 client of that service, with the caller's own access key; made once, usable from any thread."""
        with self.lock:
            if (service, caller) not in self._clients:
                keys = {"aws_access_key_id": access_key(caller), "aws_secret_access_key": "lab"}
                made = boto3.client(service, region_name=REGION, endpoint_url=self.endpoint, **keys)  # type: ignore[call-overload]
                self._clients[service, caller] = made
            return self._clients[service, caller]

    def _keep_failure(self, function: Function, request_id: str, event: bytes, result: Result, attempts: int) -> None:
        """Deliver an event that was given up, as Lambda does to a dead-letter queue or an on-failure destination."""
        destination = function.dead_letter_arn or function.on_failure_arn
        error = json.loads(result.payload)
        self.journal.write("dead_letter", function=function.name, destination=destination, error=error)
        if function.dead_letter_arn:
            message = str(json.loads(result.payload).get("errorMessage", ""))
            attributes = {"RequestID": request_id, "ErrorCode": "200", "ErrorMessage": message[:1024]}
            self._queue(function.dead_letter_arn, event.decode(), attributes)
        if function.on_failure_arn:
            self._queue(function.on_failure_arn, json.dumps(_record(function, request_id, event, result, attempts)), {})

    def _queue(self, arn: str, body: str, attributes: dict[str, str]) -> None:
        values = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        with self.lock:
            sqs_backends[ACCOUNT][REGION].send_message(arn.rsplit(":", 1)[-1], body, message_attributes=values)

    def close(self) -> None:
        self.timers.close()
        self.pollers.close()
        self.groups.close()
        self._executions.stop_all()
        if isinstance(self.functions, LambdaService):
            self.functions.close()
        self._server.stop()
        self._patched.close()
        self.journal.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _record(function: Function, request_id: str, event: bytes, result: Result, attempts: int) -> dict[str, Any]:
    """The record an on-failure destination receives."""
    return {
        "version": "1.0",
        "timestamp": iso(),
        "requestContext": {
            "requestId": request_id,
            "functionArn": f"{function_arn(function.name)}:$LATEST",
            "condition": "RetriesExhausted" if attempts > function.retries else "EventAgeExceeded",
            "approximateInvokeCount": attempts,
        },
        "requestPayload": json.loads(event),
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": result.error},
        "responsePayload": json.loads(result.payload),
    }
