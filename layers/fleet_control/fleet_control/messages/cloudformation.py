"""Custom resource requests. The envelope is lenient: whoever can be answered must be answered."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from fleet_control.errors import BadEvent
from fleet_control.messages.parse import explain

# What is no text counts as absent, so that a request with an address gets its answer whatever else is wrong with it.
Text = Annotated[str, BeforeValidator(lambda raw: raw if isinstance(raw, str) else "")]
PoolName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
ParameterName = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", max_length=1011)]
ImageId = Annotated[str, StringConstraints(pattern=r"^ami-[0-9a-f]{8,17}$")]
Properties = TypeVar("Properties", bound=BaseModel)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True, extra="ignore", populate_by_name=True)


class CustomResourceRequest(_Model):
    """Without a `response_url` it is a call by hand or by the migration job: nobody waits for an answer."""

    request_type: Text = Field(default="", alias="RequestType")
    response_url: Text = Field(default="", alias="ResponseURL", repr=False)
    stack_id: Text = Field(default="", alias="StackId")
    request_id: Text = Field(default="", alias="RequestId")
    logical_id: Text = Field(default="", alias="LogicalResourceId")
    physical_id: Text = Field(default="", alias="PhysicalResourceId")
    properties: Any = Field(default_factory=dict, alias="ResourceProperties")


class TenantPools(_Model):
    pools: tuple[PoolName, ...] = Field(alias="Pools", min_length=1)
    fleet_control_secret_id: str = Field(alias="FleetControlSecretId", min_length=1)


class FleetSecret(_Model):
    parameter_name: ParameterName = Field(alias="ParameterName")


class AmiParameter(_Model):
    parameter_name: ParameterName = Field(alias="ParameterName")
    image_id: ImageId = Field(alias="ImageId")


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
        # Not chained and without the input: an event carries a signed URL.
        raise BadEvent(explain(error)) from None
