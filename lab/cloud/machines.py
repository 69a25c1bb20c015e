"""State machine executions: journaled from start to end, and stopped when the world ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication, Execution
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

from lab.cloud.journal import Journal
from lab.cloud.names import ACCOUNT, REGION


class ExecutionWatch:
    """Writes `execution` entries: machine, name, status; at the end also error and cause."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    @contextmanager
    def watching(self) -> Iterator[None]:
        start, terminated = Execution.start, BaseExecutionWorkerCommunication.terminated

        def started(execution: Any) -> None:
            start(execution)
            self._note(execution, "RUNNING")

        def ended(comm: Any) -> None:
            terminated(comm)
            self._note(comm.execution, str(comm.execution.status))

        with (
            patch.object(Execution, "start", started),
            patch.object(BaseExecutionWorkerCommunication, "terminated", ended),
        ):
            yield

    def _note(self, execution: Any, status: str) -> None:
        about = {"machine": execution.state_machine.name, "name": execution.name, "status": status}
        self._journal.write("execution", **about, error=execution.error, cause=execution.cause)

    def stop_all(self) -> None:
        """Abort what still runs, so that no execution calls a function that is gone."""
        for machine in stepfunctions_parser_backends[ACCOUNT][REGION].state_machines:
            for execution in machine.executions:
                if execution.status == "RUNNING" and execution.exec_worker.env is not None:
                    execution.stop(datetime.now(UTC), "Lab.Closed", "the lab ends")
