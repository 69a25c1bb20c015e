"""Where the traces of a bad event are looked for: dead letters, log lines, metrics, whatever may be written."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import settings

from lab.cloud import journal
from lab.cloud.names import ACCOUNT, REGION
from lab.world import World
from tests.lab.waiting import until

STEADY = settings(derandomize=True, max_examples=120, deadline=None, database=None)
"""The same verdict on every machine and every day."""
MARK = "hunter2-in-the-event"
"""Stands in every bad event of these tests, and in no log line."""
READS = ("Describe", "List", "Get")
TABLES = ("ai_job_dispatches", "comfy_ui_workers", "worker_workflows", "worker_audit_logs", "workflows")


def topic(name: str) -> str:
    return f"arn:aws:sns:{REGION}:{ACCOUNT}:bp-staging-{name}"


class Letters:
    """A queue that keeps what was given up; each letter is read once."""

    def __init__(self, world: World, queue: str = "failed-invocations") -> None:
        self._sqs = world.cloud.client("sqs")
        self._url = self._sqs.get_queue_url(QueueName=f"bp-staging-{queue}")["QueueUrl"]

    def read(self) -> list[dict[str, Any]]:
        """All that wait; they are gone afterwards."""
        found: list[dict[str, Any]] = []
        while messages := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))
        return found

    def wait(self, count: int = 1) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []

        def enough() -> bool:
            found.extend(self.read())
            return len(found) >= count

        until(enough, seconds=15)
        return found


class Stage:
    """One test's view of the world: what happened since it began."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._began = len(self._journal())
        self._sizes = {log.stem: log.stat().st_size for log in self._logs()}

    def _logs(self) -> list[Any]:
        return sorted((self.world.run_dir / "logs").glob("*.log"))

    def _journal(self) -> list[dict[str, Any]]:
        return journal.read(self.world.run_dir / "journal.jsonl")

    def happened(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """Journal entries of this kind and with these fields."""
        entries = self._journal()[self._began :]
        return [e for e in entries if e["kind"] == kind and fields.items() <= e.items()]

    def text(self, function: str) -> str:
        log = self.world.run_dir / "logs" / f"bp-staging-{function}.log"
        return log.read_bytes()[self._sizes.get(log.stem, 0) :].decode()

    def all_text(self) -> str:
        return "".join(self.text(log.stem.removeprefix("bp-staging-")) for log in self._logs())

    def lines(self, function: str) -> list[dict[str, Any]]:
        """The function's structured log lines."""
        return [json.loads(line) for line in self.text(function).splitlines() if line.startswith("{")]

    def counted(self, function: str, metric: str) -> float:
        """Sum of a health metric in the function's EMF lines."""
        return sum(sum(line[metric]) for line in self.lines(function) if "_aws" in line and metric in line)

    def decisions(self, function: str, **fields: Any) -> list[dict[str, Any]]:
        found = [line for line in self.lines(function) if line.get("message") == "decision"]
        return [line for line in found if fields.items() <= line.items()]

    def answered(self, function: str, count: int = 1) -> list[dict[str, Any]]:
        """The function's invocations, once there were so many."""
        name = f"bp-staging-{function}"
        until(lambda: len(self.happened("invocation", function=name)) >= count, seconds=15)
        return self.happened("invocation", function=name)

    def answered_batches(self, messages: int, besides: int = 0) -> list[dict[str, Any]]:
        """Reconcile's invocations, once so many queued messages were looked at and `besides` other calls answered."""
        until(lambda: sum(batch["messages"] for batch in self.happened("batch")) >= messages, seconds=30)
        return self.answered("reconcile", len(self.happened("batch")) + besides)

    def written(self) -> list[str]:
        """AWS calls of functions that are not reads."""
        calls = [e for e in self.happened("aws_call") if str(e.get("caller")).startswith("bp-staging-")]
        return [e["operation"] for e in calls if not e["operation"].startswith(READS)]

    def rows(self) -> dict[str, Any]:
        """Every row of the contract's tables, by table."""
        with self.world.connect() as session, session.cursor() as cursor:
            found = {}
            for table in TABLES:
                cursor.execute(f"SELECT * FROM {table} ORDER BY id")  # noqa: S608
                found[table] = cursor.fetchall()
            return found

    def desired(self) -> dict[str, int]:
        return {
            g["AutoScalingGroupName"].removeprefix("asg-staging-"): g["DesiredCapacity"] for g in self.world.fleets()
        }

    def run(self, statement: str, *parameters: object) -> int:
        """One statement as root; the new row's id."""
        with self.world.connect() as session, session.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return int(cursor.lastrowid)

    def publish(self, to: str, message: str) -> None:
        self.world.cloud.client("sns").publish(TopicArn=topic(to), Message=message)

    def send(self, function: str, event: Any) -> None:
        """Invoke asynchronously, as EventBridge and CloudFormation do."""
        self.world.cloud.functions.invoke_async(f"bp-staging-{function}", json.dumps(event).encode())
