"""The way that the control plane replaces: ask once for each fleet, each workflow, each metric.

Honest and competent: the same facts, bound parameters, the contract's indexes, one session, the same decisions and the
same metrics in the end (the benchmark compares them). It differs in how it reads: SQL for one fleet or one value at a
time, every instance described, durations fetched and sorted in Python, twenty metrics a call.
"""

from __future__ import annotations

import statistics
from datetime import datetime
from typing import Any

import boto3
from fleet_control.act.asg import WORKFLOWS_TAG, Group, GroupInstance
from fleet_control.act.cloudwatch import CloudWatch
from fleet_control.act.database import Database
from fleet_control.act.ec2 import Ec2Instance
from fleet_control.decide.metrics import Publication, Window, WorkflowLoad, publication
from fleet_control.decide.model import Fleet, HeldFleet, Instance, Lease, Observation, Policy, Worker
from fleet_control.decide.plan import Plan, plan
from fleet_control.flows import rows
from fleet_control.flows.observe import instance
from fleet_control.flows.policy import read_policy

METRICS_A_CALL = 20
Row = dict[str, Any]

WORKFLOW = "SELECT id FROM workflows WHERE slug = %s AND deleted_at IS NULL"
QUEUED = """
SELECT COUNT(*) AS jobs, MIN(created_at) AS oldest_at FROM ai_job_dispatches
WHERE workflow_id = %s AND status = 'queued' AND attempts < 3 AND provider = 'self_hosted'
"""
LEASES = """
SELECT id, workflow_id, worker_id, lease_token, lease_expires_at, attempts, updated_at
FROM ai_job_dispatches
WHERE workflow_id = %s AND status = 'leased' AND provider = 'self_hosted'
"""
WORKERS = """
SELECT w.* FROM comfy_ui_workers w JOIN worker_workflows ww ON ww.worker_id = w.id
WHERE ww.workflow_id = %s AND w.registration_source = 'fleet'
"""
ACTIVITY = "SELECT worker_id, MAX(created_at) AS at FROM worker_audit_logs WHERE worker_id IN %s GROUP BY worker_id"
DRAINS = """
SELECT id, event, metadata, created_at FROM worker_audit_logs
WHERE worker_id = %s AND event IN ('fleet_drained', 'fleet_undrained') ORDER BY id DESC LIMIT 1
"""
NEWEST = "SELECT updated_at FROM ai_job_dispatches WHERE workflow_id = %s ORDER BY id DESC LIMIT 1"

NOW = "SELECT UTC_TIMESTAMP() AS now"
ACTIVE = "SELECT id, slug FROM workflows WHERE is_active = 1 AND deleted_at IS NULL"
_OURS = "FROM ai_job_dispatches WHERE workflow_id = %s AND provider = 'self_hosted' AND "
# Left alone, the server merges two indexes and takes eight times as long.
_ENDED = _OURS.replace("ai_job_dispatches", "ai_job_dispatches FORCE INDEX (idx_dispatch_poll)")
_SEEN = """
FROM comfy_ui_workers w JOIN worker_workflows ww ON ww.worker_id = w.id
WHERE ww.workflow_id = %s AND w.is_approved = 1 AND w.last_seen_at >= UTC_TIMESTAMP() - INTERVAL 5 MINUTE
"""
_FREE = """
GREATEST(0, CAST(w.max_concurrency AS SIGNED) - (
    SELECT COUNT(*) FROM ai_job_dispatches d
    WHERE d.worker_id = w.worker_id AND d.status = 'leased' AND d.lease_expires_at > UTC_TIMESTAMP()))
"""
VALUES = {
    "depth": f"SELECT COUNT(*) AS value {_OURS} status IN ('queued', 'leased') AND attempts < 3",
    "waiting": f"SELECT COUNT(*) AS value {_OURS} status = 'queued' AND attempts < 3",
    "expired": f"SELECT COUNT(*) AS value {_OURS} status = 'leased' AND lease_expires_at <= UTC_TIMESTAMP()",
    "stuck": f"""SELECT COUNT(*) AS value {_OURS} status = 'leased' AND lease_expires_at <= UTC_TIMESTAMP()
                 AND attempts >= 3""",
    "oldest_age": f"""SELECT TIMESTAMPDIFF(SECOND, MIN(created_at), UTC_TIMESTAMP()) AS value {_OURS}
                      status = 'queued' AND attempts < 3""",
    "workers": f"SELECT COUNT(*) AS value {_SEEN}",
    "capacity": f"SELECT COALESCE(SUM({_FREE}), 0) AS value {_SEEN} AND w.is_draining = 0",
    "completed": f"""SELECT COUNT(*) AS value {_ENDED} status = 'completed'
                     AND updated_at >= UTC_TIMESTAMP() - INTERVAL 5 MINUTE""",
    "failed": f"""SELECT COUNT(*) AS value {_ENDED} status = 'failed'
                  AND updated_at >= UTC_TIMESTAMP() - INTERVAL 5 MINUTE""",
}
DURATIONS = f"""SELECT duration_seconds {_ENDED} status = 'completed'
                AND updated_at >= UTC_TIMESTAMP() - INTERVAL 10 MINUTE"""
INTERRUPTIONS = """
SELECT COUNT(*) AS value FROM worker_audit_logs a JOIN ai_job_dispatches d ON d.id = a.dispatch_id
WHERE d.workflow_id = %s AND a.event = 'requeued' AND a.created_at >= %s AND a.created_at < %s
  AND JSON_VALUE(a.metadata, '$.reason') IN ('spot_interruption', 'capacity_rebalance')
"""


def groups(stage: str) -> list[Group]:
    """As the SDK gives them."""
    filters: Any = [{"Name": "tag:Stage", "Values": [stage]}, {"Name": "tag-key", "Values": [WORKFLOWS_TAG]}]
    pages = boto3.client("autoscaling").get_paginator("describe_auto_scaling_groups").paginate(Filters=filters)
    return [
        Group(
            raw["AutoScalingGroupName"],
            raw["DesiredCapacity"],
            raw["MinSize"],
            raw["MaxSize"],
            tuple(GroupInstance(one["InstanceId"], one["LifecycleState"]) for one in raw["Instances"]),
            {tag["Key"]: tag["Value"] for tag in raw["Tags"]},
            frozenset(one["ProcessName"] for one in raw["SuspendedProcesses"]),
        )
        for page in pages
        for raw in page["AutoScalingGroups"]
    ]


class Tick:
    """One look at the stage, fleet by fleet. Decides and changes nothing."""

    def __init__(self, database: Database, stage: str) -> None:
        self._database = database
        self._ec2 = boto3.client("ec2")
        self._stage = stage

    def __call__(self) -> Plan:
        with self._database.stage_lock(f"straightforward-{self._stage}"):
            now = self._database.query(NOW)[0]["now"]
            machines = self._machines()
            seen = [self._fleet(group, machines, now) for group in groups(self._stage)]
            fleets = tuple(sorted((one for one in seen if isinstance(one, Fleet)), key=lambda fleet: fleet.name))
            held = tuple(one for one in seen if isinstance(one, HeldFleet))
            return plan(Observation(now, fleets, held), 1_000_000)

    def _machines(self) -> dict[str, Ec2Instance]:
        filters: Any = [{"Name": "tag:Stage", "Values": [self._stage]}]
        pages = self._ec2.get_paginator("describe_instances").paginate(Filters=filters)
        raws = [one for page in pages for held in page["Reservations"] for one in held["Instances"]]
        return {
            raw["InstanceId"]: Ec2Instance(
                raw["InstanceId"], raw["State"]["Name"], raw["LaunchTime"].replace(tzinfo=None)
            )
            for raw in raws
        }

    def _fleet(self, group: Group, machines: dict[str, Ec2Instance], now: datetime) -> Fleet | HeldFleet:
        policy = read_policy(group)
        if isinstance(policy, HeldFleet):
            return policy
        ids = [self._database.query(WORKFLOW, (name,))[0]["id"] for name in policy.workflows]
        queued = [self._database.query(QUEUED, (one,))[0] for one in ids]
        leases = [rows.lease(row, {}) for one in ids for row in self._database.query(LEASES, (one,))]
        crew = {worker.instance_id: worker for one in ids for worker in self._crew(one, leases)}
        newest = [row["updated_at"] for one in ids for row in self._database.query(NEWEST, (one,))]
        members = tuple(instance(one, machines.get(one.id), crew.get(one.id)) for one in group.instances)
        newest_at = max(newest, default=None)
        return _fleet(group, policy, members, queued=queued, leases=leases, newest=newest_at, now=now)

    def _crew(self, workflow: int, leases: list[Lease]) -> list[Worker]:
        found = self._database.query(WORKERS, (workflow,))
        activity = self._database.query(ACTIVITY, ([row["id"] for row in found],)) if found else []
        active = {row["worker_id"]: row["at"] for row in activity}
        return [self._worker(row, active.get(row["id"]), leases) for row in found]

    def _worker(self, row: Row, active_at: datetime | None, leases: list[Lease]) -> Worker:
        drains = self._database.query(DRAINS, (row["id"],)) if row["is_draining"] else []
        drain = drains[0] if drains else {"id": None, "event": None, "metadata": None, "created_at": None}
        facts = {f"drain_{key}": drain[key] for key in ("id", "event", "metadata")} | {"drain_at": drain["created_at"]}
        held = [lease for lease in leases if lease.worker_id == row["worker_id"]]
        return rows.worker(row | facts | {"active_at": active_at}, held)


def _fleet(
    group: Group,
    policy: Policy,
    members: tuple[Instance, ...],
    *,
    queued: list[Row],
    leases: list[Lease],
    newest: datetime | None,
    now: datetime,
) -> Fleet:
    again = [lease for lease in leases if lease.is_leasable(now)]
    return Fleet(
        name=group.name,
        policy=policy,
        desired=group.desired,
        instances=members,
        queued=sum(row["jobs"] for row in queued) + len(again),
        leased=sum(lease.is_live(now) for lease in leases),
        oldest_waiting_at=min((row["oldest_at"] for row in queued if row["oldest_at"]), default=None),
        last_job_at=newest,
        az_rebalance_runs="AZRebalance" not in group.suspended,
    )


class Publish:
    """The contract's metrics, workflow by workflow and value by value."""

    def __init__(self, database: Database, stage: str, namespace: str) -> None:
        self._database = database
        self._cloudwatch = CloudWatch(boto3.client("cloudwatch"), namespace)
        self._stage = stage

    def __call__(self) -> Publication:
        now = self._database.query(NOW)[0]["now"]
        window = Window.before(now, 60)
        loads = [self._load(row, window) for row in self._database.query(ACTIVE)]
        served = frozenset(slug for group in groups(self._stage) for slug in group.workflows)
        result = publication(self._stage, now, window, loads, served)
        for start in range(0, len(result.points), METRICS_A_CALL):
            self._cloudwatch.put(result.points[start : start + METRICS_A_CALL])
        return result

    def _load(self, workflow: Row, window: Window) -> WorkflowLoad:
        one = workflow["id"]
        values = {name: self._value(sql, one) for name, sql in VALUES.items()}
        values["interruptions"] = self._value(INTERRUPTIONS, one, window.start, window.end)
        durations = sorted(row["duration_seconds"] for row in self._database.query(DURATIONS, (one,)))
        values["p50"] = statistics.median(durations) if durations else None
        return WorkflowLoad(slug=workflow["slug"], **values)

    def _value(self, sql: str, *params: object) -> Any:
        value = self._database.query(sql, params)[0]["value"]
        return value if value is None else int(value)
