"""The `queue-empty` alarm: check the truth, then drain every idle instance of the fleet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fleet_control.act.asg import AutoScaling, Group
from fleet_control.act.jobs import Jobs
from fleet_control.act.machines import Machine
from fleet_control.act.workers import Workers
from fleet_control.decide.model import SCALE_TO_ZERO, HeldFleet, Instance, Policy, Standing, Worker
from fleet_control.decide.standing import seconds_since, standing
from fleet_control.flows import rows
from fleet_control.flows.drains import WayDown
from fleet_control.flows.observe import Queues, instance, last_job_at, read_queues
from fleet_control.flows.policy import serving
from fleet_control.messages.alarm import Alarm
from fleet_control.telemetry import Recorder

ALARM_LAG_SECONDS = 120
"""The alarm sees one sample of the queue a minute, and is evaluated up to a minute later; never more than two thirds of
a window, so that even a short one means some quiet."""


@dataclass(frozen=True, slots=True)
class Ports:
    stage: str
    jobs: Jobs
    workers: Workers
    groups: AutoScaling
    scale_in: Machine
    recorder: Recorder


def scale_to_zero(ports: Ports, alarm: Alarm) -> dict[str, object]:
    """What was done and why. Raises Hold when the truth cannot be read, so that the delivery is repeated."""
    slug = alarm.dimension("WorkflowSlug")
    if alarm.state != "ALARM":
        return _told(ports, slug, "ignored", f"alarm went to {alarm.state}")
    if slug is None or alarm.dimension("Stage") not in (None, ports.stage):
        return _told(ports, slug, "ignored", f"alarm {alarm.name} names no workflow of this stage")
    found = serving(ports.groups.groups(), slug)
    if found is None:
        return _told(ports, slug, "ignored", f"no fleet serves {slug}")
    group, policy = found
    if isinstance(policy, HeldFleet):
        return _told(ports, group.name, "hold", policy.reason)
    queues, now = read_queues(ports.jobs), ports.jobs.now()
    members = _members(ports, group)
    objection = _objection(ports, policy, last_work(queues, policy, members), now)
    if objection is not None:
        return _told(ports, group.name, "aborted", objection)
    return _drain_all(ports, group, policy, _idle(members, policy, queues, now), now)


def last_work(queues: Queues, policy: Policy, members: list[Instance]) -> datetime | None:
    """The newest job's last change, or the last thing a worker of the fleet did, whichever is later."""
    acted = [member.worker.active_at for member in members if member.worker and not member.worker.draining]
    newest = last_job_at(queues, policy.workflows)
    return max([*acted, *([newest] if newest else [])], default=None)


def _objection(ports: Ports, policy: Policy, worked_at: datetime | None, now: datetime) -> str | None:
    """Why the fleet is not to go to zero, whatever the alarm saw; None when nothing speaks against it."""
    demand = ports.jobs.demand(policy.workflows)
    if demand:
        return f"{demand} jobs have come since the alarm"
    window, quiet = policy.scale_to_zero_seconds, seconds_since(worked_at, now)
    if quiet < window - min(ALARM_LAG_SECONDS, window * 2 / 3):
        # A notification delivered late or twice changes when we look, never what we conclude.
        return f"an old alarm: the fleet worked {quiet:.0f} s ago"
    return None


def _drain_all(ports: Ports, group: Group, policy: Policy, idle: list[Worker], now: datetime) -> dict[str, object]:
    down = WayDown(ports.workers, ports.scale_in, group.name, policy, now)
    going = idle[policy.min_size :]
    started = [worker.instance_id for worker in going if down.begin(worker, SCALE_TO_ZERO)]
    reason = f"queue empty: {len(started)} of {len(group.instances)} instances are scaled in"
    return _told(ports, group.name, "started" if started else "nothing to do", reason, started)


def _members(ports: Ports, group: Group) -> list[Instance]:
    crew = {row["worker_id"]: rows.worker(row) for row in ports.workers.fleet()}
    return [instance(member, None, crew.get(member.id)) for member in group.instances]


def _idle(members: list[Instance], policy: Policy, queues: Queues, now: datetime) -> list[Worker]:
    """A pending instance is not protected yet and cannot be judged: it stays, as for reconcile."""
    return [
        member.worker
        for member in members
        if member.worker
        and member.lifecycle == "InService"
        and member.id not in queues.held_by
        and standing(member, policy, now) is Standing.IDLE
    ]


def _told(
    ports: Ports, fleet: str | None, outcome: str, reason: str, started: list[str] | None = None
) -> dict[str, object]:
    ports.recorder.decision(
        fleet=fleet or "?", rule="scale-to-zero", reason=reason, outcome=outcome, started=started or []
    )
    return {"outcome": outcome, "reason": reason, "started": started or []}
