"""EventBridge events, told apart by source and detail-type. Samples stand in `events/`.

EventBridge delivers at least once and in no order: a message says where to look, never what to conclude.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

InstanceId = Annotated[str, Field(pattern=r"^i-[0-9a-f]{8,17}$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True, extra="ignore", populate_by_name=True)


class _Event(_Model):
    id: str
    time: datetime
    account: str = ""
    region: str = ""


class InterruptionDetail(_Model):
    instance_id: InstanceId = Field(alias="instance-id")
    instance_action: str = Field(alias="instance-action")


class InterruptionWarning(_Event):
    """Two minutes ahead, best effort, for every Spot instance of the account in the region."""

    source: Literal["aws.ec2"]
    detail_type: Literal["EC2 Spot Instance Interruption Warning"] = Field(alias="detail-type")
    detail: InterruptionDetail

    @property
    def instance_id(self) -> str:
        return self.detail.instance_id

    @property
    def notice(self) -> str:
        return "interruption"


class RebalanceDetail(_Model):
    instance_id: InstanceId = Field(alias="instance-id")


class RebalanceRecommendation(_Event):
    """EC2 expects to want the instance back: long before a warning, with it, or never; often a whole pool at once."""

    source: Literal["aws.ec2"]
    detail_type: Literal["EC2 Instance Rebalance Recommendation"] = Field(alias="detail-type")
    detail: RebalanceDetail

    @property
    def instance_id(self) -> str:
        return self.detail.instance_id

    @property
    def notice(self) -> str:
        return "rebalance"


class StateDetail(_Model):
    """Of a running or stopped instance nothing is concluded: another state here is a rule that was widened."""

    instance_id: InstanceId = Field(alias="instance-id")
    state: Literal["shutting-down", "terminated"]


class InstanceStateChange(_Event):
    """For every instance of the account; the rule lets `shutting-down` and `terminated` through."""

    source: Literal["aws.ec2"]
    detail_type: Literal["EC2 Instance State-change Notification"] = Field(alias="detail-type")
    detail: StateDetail

    @property
    def instance_id(self) -> str:
        return self.detail.instance_id

    @property
    def notice(self) -> str:
        return self.detail.state


class GroupDetail(_Model):
    group: str = Field(alias="AutoScalingGroupName")
    instance_id: str = Field(default="", alias="EC2InstanceId")
    status_message: str = Field(default="", alias="StatusMessage")


class GroupEvent(_Event):
    source: Literal["aws.autoscaling"]
    detail_type: Literal[
        "EC2 Instance Launch Successful",
        "EC2 Instance Launch Unsuccessful",
        "EC2 Instance Terminate Successful",
        "EC2 Instance Terminate Unsuccessful",
    ] = Field(alias="detail-type")
    detail: GroupDetail

    @property
    def names(self) -> frozenset[str]:
        return frozenset({self.detail.group})


class TerminateActionDetail(_Model):
    group: str = Field(alias="AutoScalingGroupName")
    hook: str = Field(alias="LifecycleHookName")
    instance_id: InstanceId = Field(alias="EC2InstanceId")
    transition: Literal["autoscaling:EC2_INSTANCE_TERMINATING"] = Field(alias="LifecycleTransition")


class TerminateAction(_Event):
    """A group wants an instance gone, whatever the cause, and waits for the answer of its terminate hook."""

    source: Literal["aws.autoscaling"]
    detail_type: Literal["EC2 Instance-terminate Lifecycle Action"] = Field(alias="detail-type")
    detail: TerminateActionDetail

    @property
    def instance_id(self) -> str:
        return self.detail.instance_id

    @property
    def notice(self) -> str:
        return "terminating"


class JobDetail(_Model):
    """An unknown slug goes into the log as it comes, so it is bounded: by the length of `workflows.slug`."""

    workflow_slug: str = Field(max_length=255)


class JobQueued(_Event):
    source: Literal["bp.backend"]
    detail_type: Literal["JobQueued"] = Field(alias="detail-type")
    detail: JobDetail

    @property
    def names(self) -> frozenset[str]:
        return frozenset({self.detail.workflow_slug})


class ParameterDetail(_Model):
    """The new value is not in it. Another operation than Update here is a rule that was widened."""

    name: str = Field(pattern=r"^/bp/[a-z]+/ami/[a-z0-9-]+$")
    operation: Literal["Update"]


class ImageChange(_Event):
    """Of a parameter of data type `aws:ec2:image`, once its value was found valid; delivery is best effort."""

    source: Literal["aws.ssm"]
    detail_type: Literal["Parameter Store Change"] = Field(alias="detail-type")
    detail: ParameterDetail

    @property
    def stage(self) -> str:
        return self.detail.name.split("/")[2]

    @property
    def slug(self) -> str:
        return self.detail.name.rsplit("/", 1)[-1]
