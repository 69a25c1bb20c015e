"""Parameter Store as EventBridge hears it: every parameter that is put says so."""

from __future__ import annotations

from typing import Any

from moto.ssm.models import SimpleSystemManagerBackend

from lab.cloud.events import EventBus, event
from lab.cloud.names import ACCOUNT, REGION


def put_and_tell(bus: EventBus) -> Any:
    """In the place of moto's `put_parameter`. An image is taken as valid; AWS says nothing of one that is not."""
    original = SimpleSystemManagerBackend.put_parameter

    def put_parameter(backend: Any, name: str, *given: Any, **named: Any) -> Any:
        operation = "Update" if backend._parameters.get(name) else "Create"
        parameter = original(backend, name, *given, **named)
        detail = {"operation": operation, "name": name, "type": parameter.parameter_type}
        arn = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/{name.removeprefix('/')}"
        bus.put(event("aws.ssm", "Parameter Store Change", detail, [arn]))
        return parameter

    return put_parameter
