"""Gather: the whole stage in a fixed number of reads, however many fleets there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from fleet_control.act.activities import Activity
from fleet_control.act.asg import Group, GroupInstance
from fleet_control.act.ec2 import Ec2Instance
from fleet_control.act.jobs import Row
from fleet_control.decide.model import Fleet, HeldFleet, Instance, Lease, Observation, Policy, Stray, Worker
from fleet_control.decide.overdue import any_overdue
from fleet_control.decide.pickup import old_drains
from fleet_control.flows import rows
from fleet_control.flows.launches import with_launches
from fleet_control.flows.policy import read_policies, unknown_tags


class JobReads(Protocol):
    def now(self) -> datetime: ...
    def workflows(self) -> list[Row]: ...
    def live(self) -> list[Row]: ...
    def newest(self) -> list[Row]: ...


class WorkerReads(Protocol):
    def fleet(self) -> list[Row]: ...
    def registrations(self) -> list[Row]: ...


class GroupReads(Protocol):
    def groups(self) -> list[Group]: ...
    def activities(self, group: str) -> list[Activity]: ...


class InstanceReads(Protocol):
    def not_running(self) -> dict[str, Ec2Instance]: ...
    def recommended(self) -> frozenset[str]: ...
    def lookup(self, instance_ids: Iterable[str]) -> dict[str, Ec2Instance]: ...


class ExecutionReads(Protocol):
    def running(self) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True)
class Queues:
    """The job table, by workflow slug and by worker."""

    queued: Mapping[str, Row]
    newest: Mapping[str, Row]
    leases: Mapping[str, Sequence[Lease]]
    held_by: Mapping[str, Sequence[Lease]]
    slugs: frozenset[str]


@dataclass(frozen=True, slots=True)
class Told:
    """What EC2 told: of instances, and which of them it recommends to replace."""

    of: Mapping[str, Ec2Instance]
    recommended: frozenset[str] = frozenset()


def observe(
    jobs: JobReads, workers: WorkerReads, groups: GroupReads, ec2: InstanceReads, scale_ins: ExecutionReads
) -> Observation:
    """Raises Hold when anything cannot be read: a part of the truth is no truth."""
    policies = read_policies(groups.groups())
    machines, recommended = ec2.not_running(), ec2.recommended()
    # The database comes last: whoever is in a group but not yet in its table has not registered,
    # and not the other way round.
    queues, now = read_queues(jobs), jobs.now()
    crew = _crew(workers.fleet(), queues)
    # Of a fleet on hold only what is gone is looked after, as of anybody outside our groups.
    members = {member.id for group, policy in policies if isinstance(policy, Policy) for member in group.instances}
    strays = {name for name in (*crew, *queues.held_by) if name.startswith("i-") and name not in members}
    # A member that has registered and is not listed above runs: nothing else is to be known of it.
    known = machines | ec2.lookup(strays | {name for name in members - crew.keys() if name not in machines})
    fleets, held = _fleets(policies, Told(known, recommended), crew, queues, now)
    fleets = with_launches(fleets, groups, workers, machines, now)
    running = scale_ins.running() if old_drains((*fleets, *held), now) or any_overdue(fleets, now) else None
    return Observation(now, fleets, held, _strays(strays, known, crew, queues), running)


def read_queues(jobs: JobReads) -> Queues:
    slugs = {row["id"]: row["slug"] for row in jobs.workflows()}
    live = jobs.live()
    leases = [rows.lease(r, slugs) for r in live if r["kind"] == "lease"]
    return Queues(
        queued={slugs[r["workflow_id"]]: r for r in live if r["kind"] == "queue" and r["workflow_id"] in slugs},
        newest={slugs[r["workflow_id"]]: r for r in jobs.newest() if r["workflow_id"] in slugs},
        leases=_by(lambda lease: lease.workflow, leases),
        held_by=_by(lambda lease: lease.worker_id, leases),
        slugs=frozenset(slugs.values()),
    )


def _by(key: Callable[[Lease], str], leases: Iterable[Lease]) -> Mapping[str, Sequence[Lease]]:
    grouped: dict[str, list[Lease]] = defaultdict(list)
    for lease in leases:
        grouped[key(lease)].append(lease)
    return dict(grouped)


def _crew(found: list[Row], queues: Queues) -> dict[str, Worker]:
    held = queues.held_by
    return {row["worker_id"]: rows.worker(row, held.get(row["worker_id"], ())) for row in found}


def _fleets(
    policies: Iterable[tuple[Group, Policy | HeldFleet]],
    told: Told,
    crew: Mapping[str, Worker],
    queues: Queues,
    now: datetime,
) -> tuple[tuple[Fleet, ...], tuple[HeldFleet, ...]]:
    fleets, held = [], []
    for group, policy in policies:
        members = tuple(_told_of(instance(i, told.of.get(i.id), crew.get(i.id)), told) for i in group.instances)
        if isinstance(policy, HeldFleet):
            held.append(replace(policy, instances=members))
        else:
            fleets.append(_fleet(group, policy, members, queues, now))
    return tuple(fleets), tuple(held)


def _fleet(group: Group, policy: Policy, members: tuple[Instance, ...], queues: Queues, now: datetime) -> Fleet:
    ours = [lease for slug in policy.workflows for lease in queues.leases.get(slug, ())]
    again = [lease for lease in ours if lease.is_leasable(now)]
    waits = [queues.queued[slug] for slug in policy.workflows if slug in queues.queued]
    since = [row["oldest_at"] for row in waits] + [lease.expires_at for lease in again]
    return Fleet(
        name=group.name,
        policy=policy,
        desired=group.desired,
        instances=members,
        # An expired lease with attempts left is a job that waits: the backend hands it out again.
        queued=sum(row["jobs"] for row in waits) + len(again),
        leased=sum(lease.is_live(now) for lease in ours),
        oldest_waiting_at=min((instant for instant in since if instant), default=None),
        last_job_at=last_job_at(queues, policy.workflows),
        az_rebalance_runs="AZRebalance" not in group.suspended,
        launches_held=group.launches_held,
        launches_stopped=group.launches_stopped,
        mark_left=group.mark_left,
        unknown_workflows=tuple(slug for slug in policy.workflows if slug not in queues.slugs),
        unknown_tags=unknown_tags(group),
    )


def last_job_at(queues: Queues, slugs: Iterable[str]) -> datetime | None:
    """When the newest job of these workflows last changed; None when there never was one."""
    newest = [queues.newest[slug] for slug in slugs if slug in queues.newest]
    return max((at for row in newest if (at := row["updated_at"] or row["created_at"])), default=None)


def instance(member: GroupInstance, machine: Ec2Instance | None, worker: Worker | None) -> Instance:
    """A member with what EC2 and the database told of it: EC2 nothing of one that serves, or of one just launched."""
    if machine is None:
        return Instance(member.id, member.lifecycle, None, None, worker)
    return Instance(member.id, member.lifecycle, machine.launched_at, machine.state, worker)


def _told_of(member: Instance, told: Told) -> Instance:
    return replace(member, rebalance=True) if member.id in told.recommended else member


def _strays(
    names: Iterable[str], known: Mapping[str, Ec2Instance], crew: Mapping[str, Worker], queues: Queues
) -> tuple[Stray, ...]:
    """Rows and leases of instances that are in no fleet; EC2 was asked by id, so that one launched by hand is seen."""
    held = queues.held_by
    return tuple(
        Stray(name, known[name].state if name in known else None, crew.get(name), tuple(held.get(name, ())))
        for name in sorted(names)
    )
