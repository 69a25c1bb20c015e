"""What each function is told by its environment, validated before any work.

One frozen model per function. A field is read from the variable of the same name in capitals.
"""

import os
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from fleet_control.errors import BadSettings

DatabaseName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
MachineArn = Annotated[str, StringConstraints(pattern=r"^arn:[a-z-]+:states:[a-z0-9-]+:\d{12}:stateMachine:[\w-]+$")]
NonEmpty = Annotated[str, StringConstraints(min_length=1)]


def environment() -> Mapping[str, str]:
    """The process environment as it is now. The only place that reads it."""
    return dict(os.environ)


class Settings(BaseModel):
    """Base: how a model is read from an environment. Every function knows its stage."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    stage: Literal["staging", "production"]

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Raises BadSettings, which names every wrong variable and why."""
        variables = {field: field.upper() for field in cls.model_fields}
        given = {field: environ[name] for field, name in variables.items() if name in environ}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            faults = [f"{variables[str(fault['loc'][0])]}: {fault['msg']}" for fault in error.errors()]
            raise BadSettings("; ".join(faults)) from error


class CommonSettings(Settings):
    """For every function that reads the database."""

    db_secret_id: NonEmpty
    central_db_name: DatabaseName = "bp"
    metrics_namespace: NonEmpty = "ComfyUI/Workers"
    db_ca_file: str = Field(default="", description="PEM file of the database's CA; empty means no TLS, local use only")


class ReconcileSettings(CommonSettings):
    scale_in_machine_arn: MachineArn
    fleet_worker_limit: int = Field(ge=0, description="instances over all fleets of the stage")
    dead_letters_url: NonEmpty = Field(description="URL of the queue that keeps what could not be read")


class ScaleToZeroSettings(CommonSettings):
    scale_in_machine_arn: MachineArn


class ScaleInSettings(CommonSettings):
    pass


class SpotInterruptionSettings(CommonSettings):
    spot_interruption_machine_arn: MachineArn


class AmiRolloutSettings(CommonSettings):
    scale_in_machine_arn: MachineArn
    ami_rollout_machine_arn: MachineArn


class PublishMetricsSettings(CommonSettings):
    pass


class TenantPoolInitSettings(CommonSettings):
    """Here db_secret_id is the master's."""


class FleetSecretInitSettings(Settings):
    """Touches no database."""


class AmiParameterInitSettings(Settings):
    """Touches no database."""
