"""Task inputs of the state machines. Each answer of a task is the next task's input."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, NaiveDatetime, TypeAdapter

from fleet_control.messages.parse import parse


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True, extra="ignore")


class Tick(_Model):
    """`fleet_cycle` looks: `tick` counts from 0 inside its minute."""

    step: Literal["tick"]
    tick: int = 0

    @property
    def names(self) -> frozenset[str]:
        """About no fleet more than another."""
        return frozenset()


class DrainOnItsWay(_Model):
    """One drain of one worker. `worker_row_id` is `comfy_ui_workers.id`, `drain_id` that of its audit row; times in
    seconds; `polled_at` (naive UTC) is the first poll seen after the drain, where a zombie is drained that of any
    other. A machine waits whole seconds only."""

    instance_id: str
    worker_row_id: int
    drain_id: int
    group: str
    workflows: tuple[str, ...]
    look_seconds: int = Field(gt=0)
    limit_seconds: float = Field(ge=0)
    polled_at: NaiveDatetime | None = None


class OverdueOnItsWay(_Model):
    """An instance that had not registered by its deadline: it has neither row nor drain. Looked at from `since` (naive
    UTC) for `limit_seconds`; its group launches another where desired is kept."""

    instance_id: str
    group: str
    since: NaiveDatetime
    keep_desired: bool
    look_seconds: int = Field(gt=0)
    limit_seconds: float = Field(ge=0)
    heard_at: NaiveDatetime | None = None
    """The first sign of any worker since then."""


class ScaleInTask(_Model):
    """A step of `scale_in`; answered with `{"drain": …, "next": "wait|terminate|release|done", "reason": …}`."""

    step: Literal["look", "terminate", "release"]
    drain: DrainOnItsWay | OverdueOnItsWay


class Notice(_Model):
    """One notice about one instance. `looks` counts up, at most to `max_looks` after a warning, and without a bound of
    its own while a group waits for its terminate hook (`terminating`); `look_seconds` until the next one, by the last.

    `finish_by` (naive UTC) is until when a warned worker's job may run; `group` is that of a `terminating` instance,
    the limits (seconds) are its fleet's; `polled_at` (naive UTC) is the first poll seen after its drain.
    """

    instance_id: str
    kind: Literal["interruption", "terminating", "shutting-down", "terminated"]
    looks: int = 0
    max_looks: int
    look_seconds: int = Field(gt=0)
    finish_by: NaiveDatetime | None = None
    group: str = ""
    drain_limit_seconds: float = Field(default=60, ge=0)
    job_timeout_seconds: float = Field(default=3600, ge=0)
    end_margin_seconds: float = Field(default=15, ge=0)
    polled_at: NaiveDatetime | None = None


class InterruptionTask(_Model):
    """A step of `spot_interruption`; answered with `{"notice": …, "next": "wait|done", "reason": …}`. `started` is when
    its execution began."""

    step: Literal["respond"]
    notice: Notice
    started: AwareDatetime | None = None


class AmiSurvey(_Model):
    """The schedule: is there a fleet with an older image that nobody is replacing?"""

    step: Literal["survey"]


class Rollout(_Model):
    """Of one version of a fleet's image parameter `/bp/<stage>/ami/<slug>`. `looks` counts up to `max_looks`,
    `look_seconds` apart; after an error the machine waits `error_seconds`."""

    group: str
    slug: str
    version: int
    looks: int = 0
    max_looks: int
    look_seconds: int = Field(gt=0)
    error_seconds: int = Field(gt=0)


class RolloutTask(_Model):
    """A step of `ami_rollout`; answered with `{"rollout": …, "next": "wait|done|stop", "reason": …}`."""

    step: Literal["look"]
    rollout: Rollout


def parse_scale_in(event: Any) -> ScaleInTask:
    """Raises BadEvent, UnknownEvent."""
    return parse(TypeAdapter(ScaleInTask), (ScaleInTask,), event)
