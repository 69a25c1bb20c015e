"""A notice about an instance comes in: is it one of ours, and what is to follow.

EC2's notices name no group and come for every instance of the account: whether one is ours is looked up.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import ceil

from botocore.exceptions import ClientError

from fleet_control.act.asg import TERMINATE_HOOK
from fleet_control.decide.hook import DEFAULTS
from fleet_control.decide.looks import first_look
from fleet_control.decide.model import Policy
from fleet_control.errors import Blind, DatabaseBusy, Hold
from fleet_control.flows.policy import read_policy
from fleet_control.flows.spot import Ports, told
from fleet_control.flows.spot_interruption import gone, let_go
from fleet_control.messages.eventbridge import (
    InstanceStateChange,
    InterruptionWarning,
    RebalanceRecommendation,
    TerminateAction,
)
from fleet_control.messages.spot import SpotNotice
from fleet_control.messages.tasks import Notice


def receive(ports: Ports, event: SpotNotice) -> dict[str, object]:
    """Start one execution for this instance and notice, where there is anything to wait for. Every instance of the
    account comes by here."""
    instance_id, kind = event.instance_id, event.notice
    if isinstance(event, TerminateAction) and event.detail.hook != TERMINATE_HOOK:
        return told(ports, (instance_id, kind), "ignored", f"hook {event.detail.hook} is somebody else's to answer")
    group = _group_of(ports, event)
    if group is None and not _is_known(ports, instance_id):
        return told(ports, (instance_id, kind), "ignored", "no worker, lease or group of ours knows the instance")
    if isinstance(event, RebalanceRecommendation):
        return _recommended(ports, event, group)
    notice = _notice(event, group, _policy(ports, group), _now(ports, event))
    if (answer := _at_once(ports, event, notice)) is not None:
        return answer
    started = ports.machine.start(f"{instance_id}-{kind}", {"notice": notice.model_dump(mode="json")})
    return told(ports, (instance_id, kind), "started" if started else "duplicate", f"{kind} notice")


def _at_once(ports: Ports, event: SpotNotice, notice: Notice) -> dict[str, object] | None:
    """What needs no second look. None where its machine has to wait, be it for a job, the database or the group."""
    try:
        if isinstance(event, InstanceStateChange):
            return gone(ports, event.instance_id, event.notice)
        return let_go(ports, notice) if isinstance(event, TerminateAction) else None
    except (Hold, DatabaseBusy, ClientError):
        return None


def _group_of(ports: Ports, event: SpotNotice) -> str | None:
    """Only where the group matters: of what is gone it does not, and the hook's event names it."""
    if isinstance(event, TerminateAction):
        return event.detail.group
    if not isinstance(event, InterruptionWarning | RebalanceRecommendation):
        return None
    try:
        return ports.groups.group_of(event.instance_id)
    except Blind:
        if isinstance(event, InterruptionWarning) and _is_known(ports, event.instance_id):
            return None  # the warning counts, and its seconds do
        raise


def _is_known(ports: Ports, instance_id: str) -> bool:
    try:
        return ports.workers.one(instance_id) is not None or bool(ports.workers.leases(instance_id))
    except Hold:
        # Two minutes are short: the machine repeats its looks from the first second on, this delivery after one minute.
        if ports.groups.group_of(instance_id) is None:
            raise
        return True


def _now(ports: Ports, event: SpotNotice) -> datetime:
    """The database's, or the event's own while that is away: the execution is started all the same."""
    try:
        return ports.jobs.now()
    except Hold:
        return _utc(event.time)


def _policy(ports: Ports, name: str | None) -> Policy:
    try:
        group = ports.groups.group(name) if name else None
    except Blind:
        return DEFAULTS
    policy = read_policy(group) if group else None
    return policy if isinstance(policy, Policy) else DEFAULTS


def _recommended(ports: Ports, event: RebalanceRecommendation, group: str | None) -> dict[str, object]:
    """Nobody is drained and nothing requeued: `reconcile` lets the instance go once its replacement serves."""
    about = (event.instance_id, event.notice)
    if group is None:
        return told(ports, about, "ignored", "it is in no group of ours")
    if not ports.ec2.recommend(event.instance_id, _utc(event.time)):
        return told(ports, about, "ignored", "EC2 no longer knows the instance")
    return told(ports, about, "kept", "serves on until its replacement does")


def _notice(event: SpotNotice, group: str | None, policy: Policy, now: datetime) -> Notice:
    look = first_look(policy.end_margin_seconds)
    finish_by = None
    if isinstance(event, InterruptionWarning):
        ahead = timedelta(seconds=policy.notice_seconds - policy.end_margin_seconds)
        # A warning may come late, and then there is less time; no clock of anybody's gives more.
        finish_by = (min(_utc(event.time), now) + ahead).replace(microsecond=0)
    return Notice(
        instance_id=event.instance_id,
        kind=event.notice,  # type: ignore[arg-type]
        max_looks=ceil(policy.notice_seconds / look) + 1,
        look_seconds=look,
        finish_by=finish_by,
        group=group or "",
        drain_limit_seconds=policy.drain_limit_seconds,
        job_timeout_seconds=policy.job_timeout_seconds,
        end_margin_seconds=policy.end_margin_seconds,
    )


def _utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(tzinfo=None)
