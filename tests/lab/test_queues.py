"""Lambda takes batches off a queue as on AWS: at once, some at a time, and gives back what failed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.cloud.aws import Cloud
from lab.cloud.functions import FakeLambda, ThrottledError
from lab.cloud.names import function_arn
from lab.cloud.queues import QueueMapping

from .waiting import until

ARN = "arn:aws:sqs:us-east-1:123456789012:"
AT_ONCE = 0.0
"""When a message that failed is seen again."""


class Queue:
    def __init__(self, cloud: Cloud, functions: FakeLambda) -> None:
        self.functions = functions
        self._cloud, self._sqs = cloud, cloud.client("sqs")
        self.dead = self._sqs.create_queue(QueueName="dead")["QueueUrl"]
        redrive = json.dumps({"deadLetterTargetArn": f"{ARN}dead", "maxReceiveCount": 3})
        attributes = {"RedrivePolicy": redrive, "VisibilityTimeout": "30"}
        self.url = self._sqs.create_queue(QueueName="nudges", Attributes=attributes)["QueueUrl"]

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self._sqs.send_message(QueueUrl=self.url, MessageBody=body)

    def serve(self, handler: Any, batch_size: int = 10, concurrency: int = 2) -> None:
        self.functions.handlers["hears"] = handler
        self._cloud.pollers.add(QueueMapping(f"{ARN}nudges", "hears", batch_size, concurrency, AT_ONCE))

    def left(self, url: str) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    functions = FakeLambda()
    with Cloud(tmp_path, functions) as cloud:
        yield Queue(cloud, functions)


def bodies(event: dict[str, Any]) -> list[str]:
    return [record["body"] for record in event["Records"]]


def test_what_waits_is_taken_in_batches_and_deleted_when_done(queue: Queue) -> None:
    queue.send(*map(str, range(25)))
    batches: list[dict[str, Any]] = []
    queue.serve(batches.append)
    until(lambda: queue.left(queue.url) == 0)
    assert sorted(int(body) for batch in batches for body in bodies(batch)) == list(range(25))
    assert max(len(batch["Records"]) for batch in batches) <= 10
    assert {record["eventSource"] for record in batches[0]["Records"]} == {"aws:sqs"}
    assert batches[0]["Records"][0]["eventSourceARN"] == f"{ARN}nudges"


def test_no_more_batches_run_at_a_time_than_may(queue: Queue) -> None:
    running, most, lock = [0], [0], threading.Lock()

    def slow(_: Any) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.1)
        with lock:
            running[0] -= 1

    queue.send(*map(str, range(12)))
    queue.serve(slow, batch_size=2)
    until(lambda: queue.left(queue.url) == 0)
    assert most[0] == 2


def test_only_what_was_refused_comes_again_and_is_kept_after_three_times(queue: Queue) -> None:
    heard: list[str] = []

    def picky(event: dict[str, Any]) -> dict[str, Any]:
        heard.extend(bodies(event))
        bad = [record["messageId"] for record in event["Records"] if record["body"] == "bad"]
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in bad]}

    queue.send("good", "bad", "fine")
    queue.serve(picky)
    until(lambda: queue.left(queue.dead) == 1)
    assert sorted(heard) == ["bad", "bad", "bad", "fine", "good"]
    assert queue.left(queue.url) == 0


@pytest.mark.parametrize("error", [ThrottledError("hears"), ValueError("a defect")], ids=["throttled", "failed"])
def test_a_batch_that_was_not_done_comes_again(queue: Queue, error: Exception) -> None:
    failures, heard = iter([error]), []

    def fails_once(event: dict[str, Any]) -> None:
        heard.extend(bodies(event))
        if failure := next(failures, None):
            raise failure

    queue.send("one")
    queue.serve(fails_once)
    until(lambda: queue.left(queue.url) == 0)
    assert heard == ["one", "one"]


def test_a_mapping_is_read_from_its_template() -> None:
    properties = {
        "EventSourceArn": f"{ARN}nudges",
        "FunctionName": function_arn("hears"),
        "BatchSize": "10",
        "ScalingConfig": {"MaximumConcurrency": "2"},
    }
    assert QueueMapping.of(properties, 0.5) == QueueMapping(f"{ARN}nudges", "hears", 10, 2, 0.5)
