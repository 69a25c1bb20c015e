"""The journal of AWS calls: who called what, about whom, and whether it was refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from lab.cloud.journal import Journal
from lab.cloud.names import access_key

TOLD = (
    "AutoScalingGroupName",
    "DesiredCapacity",
    "InstanceId",
    "ShouldDecrementDesiredCapacity",
    "LifecycleHookName",
    "LifecycleActionResult",
    "ResourceId.1",
    "Tag.1.Key",
    "Tag.1.Value",
    "stateMachineArn",
    "name",
    "Namespace",
    "SecretId",
    "Name",
    "Names",
    "TopicArn",
    "QueueUrl",
)
"""Request parameters worth a line; anything else, secrets first of all, stays out of the journal."""

ERROR_CODE = re.compile(r"<Code>([^<]+)</Code>|\"__type\":\s*\"([^\"]+)\"")


class CallLog:
    """Writes `aws_call` entries: service, operation, caller, region, request summary, error code."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._callers: dict[str, str] = {}

    def know(self, callers: Iterable[str]) -> None:
        """Callers who use the access key of their name."""
        self._callers |= {access_key(caller): caller for caller in callers}

    def watch(self, response: Any, call: Callable[[Any], Any]) -> Any:
        """Make the call and journal it; an exception that leaves moto is journaled by its class, then raised."""
        try:
            answer = call(response)
        except Exception as error:
            self._note(response, type(error).__name__)
            raise
        status, _, body = answer
        self._note(response, _error_code(body) if int(status) >= 400 else None)
        return answer

    def _note(self, response: Any, error: str | None) -> None:
        caller = self._callers.get(response.get_access_key())
        request = summary(response)
        operation, region = response._get_action(), response.region
        about = {"service": response.service_name, "operation": operation, "caller": caller, "region": region}
        self._journal.write("aws_call", **about, request=request, error=error)

    def by_service(self, role: str | None, service: str, operation: str, request: dict[str, Any]) -> None:
        """Note a call that an AWS service makes with a role of ours (its ARN), as a machine does at each task."""
        about = {"service": service, "operation": operation, "role": role}
        self._journal.write("service_call", **about, request=request)


def summary(response: Any) -> dict[str, Any]:
    """The told parameters of a request, whichever protocol it came by."""
    found = _json(response.body)
    if not found:
        found = {key: value[0] for key, value in response.querystring.items() if isinstance(value, list)}
    return {key: found[key] for key in TOLD if key in found}


def _json(body: Any) -> dict[str, Any]:
    try:
        loaded = json.loads(body)
    except (ValueError, TypeError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _error_code(body: Any) -> str:
    text = body.decode() if isinstance(body, bytes) else str(body)
    match = ERROR_CODE.search(text)
    return (match[1] or match[2]) if match else "Error"
