"""Everything in which moto is replaced by the lab, in one place.

| what moto does | what AWS does, and these patches |
|---|---|
| Lambda answers a constant, or needs Docker | the lab's Lambda service runs the function |
| SNS → Lambda: synchronous, no topic in the record | asynchronous, with a true record |
| state machines call Lambda over a fixed port | in process, error type kept |
| CloudFormation makes machines that do not run | machines that run, of their type |
| nested stacks and target groups have no attributes | their outputs, their full names |
| Parameter Store says nothing of a change | an event on the lab's bus |
| PutEvents knows no Lambda and no machine | the lab's bus delivers |
| SetDesiredCapacity launches and kills at once | capacity is recorded, the lab's loop acts |
| no scaling activities | the lab's |
| lifecycle hooks are kept and never fire | the lab's wait, beat, complete and time out |
| ten threads may change a backend while one reads it | one lock over all calls but Lambda's |
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from unittest.mock import patch

from botocore.exceptions import ClientError
from moto.autoscaling.models import AutoScalingBackend, FakeAutoScalingGroup
from moto.autoscaling.responses import AutoScalingResponse
from moto.awslambda.exceptions import UnknownFunctionException
from moto.awslambda.models import LambdaFunction
from moto.awslambda_simple.models import LambdaSimpleBackend
from moto.cloudformation.models import Stack
from moto.core.config import default_user_config
from moto.core.exceptions import JsonRESTError
from moto.core.responses import ActionResult, BaseResponse
from moto.elbv2.models import FakeTargetGroup
from moto.events.models import Rule
from moto.moto_server.werkzeug_app import MotoRequestHandler
from moto.sns.models import Subscription
from moto.ssm.models import SimpleSystemManagerBackend
from moto.stepfunctions.models import StateMachine
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

from lab.cloud.calls import CallLog
from lab.cloud.events import EventBus, iso
from lab.cloud.functions import Functions, Result, ThrottledError
from lab.cloud.groups import AutoScaling
from lab.cloud.parameters import put_and_tell
from lab.cloud.topics import sns_record


@dataclass(frozen=True)
class Supplements:
    """The lab's own services behind moto's API. Without `groups` moto keeps its own Auto Scaling."""

    functions: Functions
    bus: EventBus
    calls: CallLog
    lock: AbstractContextManager[Any]
    groups: AutoScaling | None = None


@contextmanager
def configured(settings: dict[str, Any]) -> Iterator[None]:
    """moto's own settings, by service, until the block ends."""
    with patch.dict(default_user_config, settings):
        yield


@contextmanager
def applied(supplements: Supplements) -> Iterator[None]:
    """moto with the supplements in place, until the block ends."""
    with ExitStack() as stack:
        for owner, name, replacement in _replacements(supplements):
            stack.enter_context(patch.object(owner, name, replacement, create=not hasattr(owner, name)))
        yield


def _replacements(lab: Supplements) -> Iterator[tuple[Any, str, Any]]:
    yield from _lambda(lab.functions, lab.calls)
    yield Subscription, "publish", _sns_publish(lab.functions)
    yield Stack, "get_cfn_attribute", _output
    yield FakeTargetGroup, "get_cfn_attribute", lambda group, _: group.arn.rpartition(":")[2]
    yield SimpleSystemManagerBackend, "put_parameter", put_and_tell(lab.bus)
    yield Rule, "send_to_targets", lambda rule, message, **_: lab.bus.offer(rule, _sent(message))
    yield BaseResponse, "call_action", _journaled_and_locked(lab)
    yield MotoRequestHandler, "log_request", lambda *_: None  # the journal has every call
    if lab.groups is not None:
        yield from _auto_scaling(lab.groups)


# Lambda, and the machines' way to it.


def _throttled_response() -> Any:
    error = JsonRESTError("TooManyRequestsException", "Rate Exceeded.")
    error.code = 429
    return error


def _lambda(functions: Functions, calls: CallLog) -> Iterator[tuple[Any, str, Any]]:
    def backend_invoke(_: Any, name: str, __: Any, body: Any, headers: Any, response: dict[str, str]) -> bytes:
        if headers.get("X-Amz-Invocation-Type") == "Event":
            functions.invoke_async(name, _encoded(body))
            return b""
        return _answer(functions, name, body, response)

    def function_invoke(function: Any, body: str, _: Any, response: dict[str, str]) -> bytes:
        return _answer(functions, function.function_name, body, response)

    def client_of_machine(state_credentials: Any = None, **_: Any) -> MachinesClient:
        return MachinesClient(functions, calls, getattr(state_credentials, "role_arn", None))

    yield LambdaSimpleBackend, "invoke", backend_invoke
    yield LambdaFunction, "invoke", function_invoke
    yield lambda_eval_utils, "boto_client_for", client_of_machine
    yield StateMachine, "create_from_cloudformation_json", _make_machine


def _make_machine(name: str, resource: dict[str, Any], account: str, region: str, **_: Any) -> Any:
    properties = resource["Properties"]
    return stepfunctions_parser_backends[account][region].create_state_machine(
        properties.get("StateMachineName", name),
        properties["DefinitionString"],
        properties.get("RoleArn", ""),
        sm_type=properties.get("StateMachineType", "STANDARD"),
    )


def _output(stack: Any, attribute: str) -> str:
    return str(stack.output_map[attribute.removeprefix("Outputs.")].value)


def _encoded(body: Any) -> bytes:
    return body if isinstance(body, bytes) else str(body or "{}").encode()


def _answer(functions: Functions, name: str, body: Any, response: dict[str, str]) -> bytes:
    try:
        result = functions.invoke(name, _encoded(body))
    except KeyError as unknown:
        raise UnknownFunctionException(name) from unknown
    except ThrottledError as throttled:
        raise _throttled_response() from throttled
    if result.error:
        response["x-amz-function-error"] = result.error
    return result.payload


class MachinesClient:
    """The Lambda client of a state machine's task, which calls with the machine's role."""

    def __init__(self, functions: Functions, calls: CallLog, role: str | None) -> None:
        self._functions, self._calls, self._role = functions, calls, role

    def invoke(self, FunctionName: str, Payload: bytes = b"{}", **_: Any) -> dict[str, Any]:  # noqa: N803
        self._calls.by_service(self._role, "lambda", "Invoke", {"FunctionName": FunctionName})
        try:
            result = self._functions.invoke(FunctionName, Payload)
        except KeyError as unknown:
            raise _client_error("ResourceNotFoundException", f"Function not found: {FunctionName}", 404) from unknown
        except ThrottledError as throttled:
            raise _client_error("TooManyRequestsException", "Rate Exceeded.", 429) from throttled
        return _invocation(result)


def _client_error(code: str, message: str, status: int) -> ClientError:
    meta = {"HTTPStatusCode": status, "RequestId": "lab"}
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": meta}, "Invoke")  # type: ignore[typeddict-item]


def _invocation(result: Result) -> dict[str, Any]:
    answer: dict[str, Any] = {"StatusCode": 200, "ExecutedVersion": "$LATEST", "Payload": BytesIO(result.payload)}
    return answer | ({"FunctionError": result.error} if result.error else {})


# SNS and EventBridge.


def _sns_publish(functions: Functions) -> Any:
    original = Subscription.publish

    def publish(subscription: Any, message: str, message_id: str, **rest: Any) -> None:
        if subscription.protocol != "lambda":
            original(subscription, message, message_id, **rest)
            return
        record = sns_record(subscription, message, message_id, rest.get("subject"))
        functions.invoke_async(subscription.endpoint, json.dumps({"Records": [record]}).encode())

    return publish


def _sent(message: dict[str, Any]) -> dict[str, Any]:
    """moto's put_events message in the form targets receive."""
    message = {key: value for key, value in message.items() if key not in ("ingestion-time", "replay-name")}
    return {**message, "time": iso()}


# Auto Scaling.


def _auto_scaling(groups: AutoScaling) -> Iterator[tuple[Any, str, Any]]:
    def record_only(group: Any, desired: int | None) -> None:
        group.desired_capacity = group.min_size if desired is None else desired

    def set_desired(_: Any, name: str, desired: int) -> None:
        groups.set_desired(name, desired)

    def terminate(_: Any, instance_id: str, should_decrement: bool) -> Any:
        return groups.terminate(instance_id, should_decrement)

    def describe_activities(response: Any) -> ActionResult:
        wanted = response._get_param("ActivityIds", [])
        name, limit = response._get_param("AutoScalingGroupName"), response._get_int_param("MaxRecords", 100)
        return ActionResult({"Activities": groups.activities.describe(name, wanted, limit)})

    yield FakeAutoScalingGroup, "set_desired_capacity", record_only
    yield AutoScalingBackend, "set_desired_capacity", set_desired
    yield AutoScalingBackend, "terminate_instance", terminate
    yield AutoScalingBackend, "notify_terminate_instances", lambda *_: None
    yield AutoScalingResponse, "describe_scaling_activities", describe_activities
    yield from _lifecycle(groups)


def _lifecycle(groups: AutoScaling) -> Iterator[tuple[Any, str, Any]]:
    def action(response: Any) -> tuple[str, str, str | None, str | None]:
        of = response._get_param
        return of("AutoScalingGroupName"), of("LifecycleHookName"), of("InstanceId"), of("LifecycleActionToken")

    def complete(response: Any) -> ActionResult:
        groups.hooks.complete(*action(response), response._get_param("LifecycleActionResult"))
        return ActionResult({})

    def heartbeat(response: Any) -> ActionResult:
        groups.hooks.heartbeat(*action(response))
        return ActionResult({})

    yield AutoScalingResponse, "complete_lifecycle_action", complete
    yield AutoScalingResponse, "record_lifecycle_action_heartbeat", heartbeat


# Every call.


def _journaled_and_locked(lab: Supplements) -> Any:
    original = BaseResponse.call_action

    def call_action(response: Any) -> Any:
        if response.service_name == "lambda":  # may last as long as a function does, and takes the lock itself
            return lab.calls.watch(response, original)
        with lab.lock:
            return lab.calls.watch(response, original)

    return call_action
