"""Custom resource requests. The envelope is lenient: whoever can be answered must be answered."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from fleet_control.errors import BadEvent

PoolName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Properties = TypeVar("Properties", bound=BaseModel)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class CustomResourceRequest(_Model):
    """Without a `response_url` it is a call by hand or by the migration job: nobody waits for an answer."""

    request_type: str = Field(alias="RequestType")
    response_url: str = Field(default="", alias="ResponseURL", repr=False)
    stack_id: str = Field(default="", alias="StackId")
    request_id: str = Field(default="", alias="RequestId")
    logical_id: str = Field(default="", alias="LogicalResourceId")
    physical_id: str = Field(default="", alias="PhysicalResourceId")
    properties: dict[str, Any] = Field(default_factory=dict, alias="ResourceProperties")


class TenantPools(_Model):
    pools: tuple[PoolName, ...] = Field(alias="Pools", min_length=1)
    fleet_control_secret_id: str = Field(alias="FleetControlSecretId", min_length=1)


class FleetSecret(_Model):
    parameter_name: str = Field(
        alias="ParameterName", pattern=r"^/[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", max_length=1011
    )


def parse_request(event: Any) -> CustomResourceRequest:
    """Raises BadEvent."""
    return _validated(CustomResourceRequest, event)


def parse_properties(model: type[Properties], request: CustomResourceRequest) -> Properties:
    """Raises BadEvent, which names the property and why."""
    return _validated(model, request.properties)


def _validated(model: type[Properties], raw: Any) -> Properties:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        # Without the input: an event carries a signed URL.
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        text = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
        raise BadEvent(text) from None
