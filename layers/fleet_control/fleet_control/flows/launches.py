"""Gather what became of launches: only of fleets that are short of what they ask for, or wait for a registration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from fleet_control.act.activities import Activity
from fleet_control.act.ec2 import Ec2Instance
from fleet_control.act.jobs import Row
from fleet_control.act.workers import MOST_REGISTRATIONS
from fleet_control.decide.capacity import capacity
from fleet_control.decide.launches import Ended, Launch, Registrations, asking, history
from fleet_control.decide.model import Fleet, LaunchHistory
from fleet_control.errors import Blind


class ActivityReads(Protocol):
    def activities(self, group: str) -> list[Activity]: ...


class RegistrationReads(Protocol):
    def registrations(self) -> list[Row]: ...


def with_launches(
    fleets: tuple[Fleet, ...],
    groups: ActivityReads,
    workers: RegistrationReads,
    machines: Mapping[str, Ec2Instance],
    now: datetime,
) -> tuple[Fleet, ...]:
    """One call for each fleet that asks, and one statement for all of them. A fleet whose activities cannot be read
    launches nothing until they can; the others go on."""
    needs = {fleet.name: capacity(fleet, now) for fleet in fleets}
    names = sorted(asking(fleets, needs, now))
    if not names:
        return fleets
    found = {name: _launches(groups, name, machines) for name in names}
    # After the activities: who had not registered when its launch was read may have by now, never the reverse.
    known = _registrations(workers.registrations(), fleets)

    def told(fleet: Fleet) -> LaunchHistory:
        launches = found[fleet.name]
        if isinstance(launches, str):
            return LaunchHistory(unread=launches)
        return history(launches, fleet, needs[fleet.name].standing or {}, known, now)

    return tuple(replace(fleet, launches=told(fleet)) if fleet.name in found else fleet for fleet in fleets)


def _launches(groups: ActivityReads, name: str, machines: Mapping[str, Ec2Instance]) -> list[Launch] | str:
    """Newest first; or why they cannot be read."""
    try:
        activities = groups.activities(name)
    except Blind as blind:
        return str(blind)
    ends = {one.instance_id: one for one in reversed(activities) if not one.launches and one.instance_id}
    return [_launch(one, ends, machines) for one in activities if one.launches]


def _launch(one: Activity, ends: Mapping[str, Activity], machines: Mapping[str, Ec2Instance]) -> Launch:
    refusal = one.message if one.status == "Failed" else None
    if one.instance_id is None or one.instance_id not in ends:
        return Launch(one.at, one.instance_id, refusal, cancelled=one.status == "Cancelled")
    end, machine = ends[one.instance_id], machines.get(one.instance_id)
    ended = Ended(end.at, end.cause, by_spot=machine is not None and machine.taken_by_spot)
    return Launch(one.at, one.instance_id, refusal, ended)


def _registrations(rows: Iterable[Row], fleets: Iterable[Fleet]) -> Registrations:
    """The log's, and those whose worker is still there, however long ago they registered."""
    found = [row for row in rows if row["created_at"] is not None]
    at = {row["worker_identifier"]: row["created_at"] for row in reversed(found) if row["worker_identifier"]}
    crew = [member.worker for fleet in fleets for member in fleet.instances if member.worker is not None]
    at |= {worker.instance_id: worker.registered_at for worker in crew if worker.instance_id not in at}
    return Registrations(at, found[-1]["created_at"] if len(found) >= MOST_REGISTRATIONS else None)
