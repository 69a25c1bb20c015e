"""The dead-letter queue of failed invocations: Lambda writes it, and so do we for one message of a batch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from fleet_control.errors import BadEvent, NotKept

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class DeadLetters:
    """Letters have the form of Lambda's own, with context, payload and error, so that all are read in one way."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def keep(self, payload: str, why: BadEvent, *, function_arn: str, request_id: str) -> None:
        """`payload` is kept as it came. Raises NotKept."""
        letter = {
            "version": "1.0",
            "requestContext": {"requestId": request_id, "functionArn": function_arn, "condition": "Unreadable"},
            "requestPayload": payload,
            "responsePayload": {"errorType": type(why).__name__, "errorMessage": str(why)},
        }
        try:
            self._client.send_message(QueueUrl=self._url, MessageBody=json.dumps(letter))
        except (BotoCoreError, ClientError) as error:
            raise NotKept("sqs:SendMessage failed: what could not be read stays in its own queue") from error
