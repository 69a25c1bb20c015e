"""Lambda's event source mappings for SQS: takes batches off a queue, calls the function, deletes what it has done.

As on AWS without a batching window: whatever waits goes at once, up to a batch; `concurrency` batches run at a time;
what failed, or met a throttle, is seen again when its visibility time-out is over.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from moto.sqs.models import Message, SQSBackend, sqs_backends

from lab.cloud.functions import Functions, ThrottledError
from lab.cloud.journal import Journal
from lab.cloud.names import ACCOUNT, REGION, function_name

LOOK_SECONDS = 0.05
"""Between two looks at an empty queue: AWS's long poll answers at once."""


@dataclass(frozen=True)
class QueueMapping:
    """`retry_scale` multiplies the queue's visibility time-out after a failure."""

    queue_arn: str
    function: str
    batch_size: int
    concurrency: int
    retry_scale: float = 1.0

    @classmethod
    def of(cls, properties: Mapping[str, Any], retry_scale: float) -> QueueMapping:
        return cls(
            queue_arn=properties["EventSourceArn"],
            function=function_name(properties["FunctionName"]),
            batch_size=int(properties.get("BatchSize", 10)),
            concurrency=int(properties.get("ScalingConfig", {}).get("MaximumConcurrency", 5)),
            retry_scale=retry_scale,
        )

    @property
    def queue(self) -> str:
        return self.queue_arn.rsplit(":", 1)[-1]


class QueuePollers:
    """One thread for each batch that may run at a time. `lock` is moto's."""

    def __init__(self, functions: Functions, journal: Journal, lock: AbstractContextManager[Any]) -> None:
        self._functions, self._journal, self._lock = functions, journal, lock
        self._closing = threading.Event()

    def add(self, mapping: QueueMapping) -> None:
        for _ in range(mapping.concurrency):
            threading.Thread(target=self._poll, args=(mapping,), daemon=True).start()

    def close(self) -> None:
        self._closing.set()

    def _poll(self, mapping: QueueMapping) -> None:
        while not self._closing.is_set():
            messages = self._receive(mapping)
            if messages:
                self._settle(mapping, messages, self._failed(mapping, messages))
            else:
                self._closing.wait(LOOK_SECONDS)

    @staticmethod
    def _backend() -> SQSBackend:
        return sqs_backends[ACCOUNT][REGION]

    def _receive(self, mapping: QueueMapping) -> list[Message]:
        with self._lock:
            queue = self._backend().get_queue(mapping.queue)
            timeout = int(queue.visibility_timeout or 30)
            found: list[Message] = self._backend().receive_message(mapping.queue, mapping.batch_size, 0, timeout)
        return found

    def _failed(self, mapping: QueueMapping, messages: list[Message]) -> set[str]:
        """Ids of the messages that are not done."""
        everything = {message.id for message in messages}
        batch = {"Records": [_record(mapping.queue_arn, message) for message in messages]}
        self._journal.write("batch", queue=mapping.queue, function=mapping.function, messages=len(messages))
        try:
            result = self._functions.invoke(mapping.function, json.dumps(batch).encode())
        except ThrottledError:
            return everything
        if result.error:
            return everything
        answer = json.loads(result.payload) or {}
        return {failure["itemIdentifier"] for failure in answer.get("batchItemFailures") or ()}

    def _settle(self, mapping: QueueMapping, messages: list[Message], failed: set[str]) -> None:
        if self._closing.is_set():
            return
        with self._lock:
            for message in messages:
                handle = str(message.receipt_handle)
                if message.id not in failed:
                    self._backend().delete_message(mapping.queue, handle)
                elif mapping.retry_scale != 1:
                    timeout = self._backend().get_queue(mapping.queue).visibility_timeout or 30
                    seconds = int(timeout * mapping.retry_scale)
                    self._backend().change_message_visibility(mapping.queue, handle, seconds)


def _record(queue_arn: str, message: Message) -> dict[str, Any]:
    """One record of the event that Lambda makes of a message."""
    return {
        "messageId": message.id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": {
            "ApproximateReceiveCount": str(message.approximate_receive_count),
            "SentTimestamp": str(message.sent_timestamp),
            "SenderId": ACCOUNT,
            "ApproximateFirstReceiveTimestamp": str(message.approximate_first_receive_timestamp),
        },
        "messageAttributes": {},
        "md5OfBody": message.body_md5,
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": REGION,
    }
