"""Step Functions: start a named execution once, and see which run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from fleet_control.act.blind import blind

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_stepfunctions.literals import ExecutionStatusType


class Machine:
    """One Standard state machine. Names of executions stay reserved for 90 days."""

    def __init__(self, client: SFNClient, arn: str) -> None:
        self._client = client
        self._arn = arn

    def start(self, name: str, payload: Mapping[str, object]) -> bool:
        """True when this call started it; False when an execution of that name is or was there already."""
        try:
            self._client.start_execution(stateMachineArn=self._arn, name=name, input=json.dumps(payload))
        except self._client.exceptions.ExecutionAlreadyExists:
            return False
        return True

    def running(self) -> frozenset[str]:
        """Names of the running executions, in pages of 1,000. Raises Blind."""
        return self._names("RUNNING")

    def failed(self) -> frozenset[str]:
        """Names of those that failed in the last 90 days; cut off and aborted ones are not among them. Raises Blind."""
        return self._names("FAILED")

    def _names(self, status: ExecutionStatusType) -> frozenset[str]:
        pages = self._client.get_paginator("list_executions")
        try:
            found = pages.paginate(stateMachineArn=self._arn, statusFilter=status)
            return frozenset(execution["name"] for page in found for execution in page["executions"])
        except (BotoCoreError, ClientError) as error:
            raise blind("states:ListExecutions", error) from error
