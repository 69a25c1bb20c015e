"""State machine executions: journaled from start to end, stopped when the world ends; and one run by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication, Execution
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

from lab.cloud.journal import Journal
from lab.cloud.names import ACCOUNT, REGION


@contextmanager
def hurried(factor: float) -> Iterator[None]:
    """Waits and retry intervals take `factor` of their time; for tests of machines, whose text stays as it is."""
    pause = time.sleep

    def wait_less(_: Any, env: Any, wait_seconds: float) -> None:
        env.program_state_event.wait(wait_seconds * factor)

    with patch.object(WaitFunction, "_wait_interval", wait_less), patch.object(retrier_decl, "time") as clock:
        clock.sleep = lambda seconds: pause(seconds * factor)
        yield


class ExecutionWatch:
    """Writes `execution` entries: machine, name, status; at the end also error and cause."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    @contextmanager
    def watching(self) -> Iterator[None]:
        start, terminated = Execution.start, BaseExecutionWorkerCommunication.terminated

        def started(execution: Any) -> None:
            self._note(execution, "RUNNING")
            start(execution)

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
