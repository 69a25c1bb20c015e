"""The races at the end of the queue, with the backend as it really leases: nobody busy is killed, no job is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from fleet_control.act.database import Database
from fleet_control.act.jobs import Jobs
from fleet_control.act.workers import Workers
from fleet_control.flows.notices import Ports as SpotPorts
from fleet_control.flows.reconcile import Ports as ReconcilePorts
from fleet_control.flows.reconcile import reconcile
from fleet_control.flows.scale_in import Ports as ScaleInPorts
from fleet_control.flows.scale_in import scale_in
from fleet_control.flows.spot_interruption import respond
from fleet_control.messages.spot import parse_spot
from fleet_control.messages.tasks import InterruptionTask, parse_scale_in

from lab.backend import Backend, Job, RefusedError
from lab.mariadb import Connection, MariaDb
from tests.flows.fakes import Stage, ports_of

ME = "i-0a1b2c3d4e5f60718"
SLUG = "image-to-video"


class Race:
    """One worker, registered with the backend; the product's adapters on the same database."""

    def __init__(self, backend: Backend, database: Database, root: Connection) -> None:
        self.backend, self.root, self.stage = backend, root, Stage()
        self.real: dict[str, Any] = {"database": database, "jobs": Jobs(database), "workers": Workers(database)}
        self.group = self.stage.fleet(desired=1)
        self.stage.instance(ME)
        self.token = backend.register(ME, [SLUG])

    def submit(self) -> int:
        return self.backend.submit(SLUG, tenant="t", tenant_job_id=len(self.dispatches()) + 1)

    def drain(self) -> int:
        drain_id = self.real["workers"].drain(1, ME, "idle")
        assert isinstance(drain_id, int)
        return drain_id

    def step(self, name: str, drain_id: int, **drain: Any) -> dict[str, Any]:
        given = {"instance_id": ME, "worker_row_id": 1, "drain_id": drain_id, "group": self.group, "workflows": [SLUG]}
        task = {"step": name, "drain": given | {"look_seconds": 3, "limit_seconds": 60} | drain}
        return scale_in(ports_of(self.stage, ScaleInPorts, **self.real), parse_scale_in(task))

    def warned(self) -> dict[str, Any]:
        notice = {"instance_id": ME, "kind": "interruption", "max_looks": 25, "look_seconds": 5}
        task = parse_spot({"step": "respond", "notice": notice})
        assert isinstance(task, InterruptionTask)
        return respond(ports_of(self.stage, SpotPorts, **self.real), task)

    def reconcile(self) -> str:
        return reconcile(ports_of(self.stage, ReconcilePorts, worker_limit=50, **self.real), "Tick").outcome

    def dispatches(self) -> list[dict[str, Any]]:
        with self.root.cursor() as cursor:
            cursor.execute("SELECT * FROM ai_job_dispatches ORDER BY id")
            return list(cursor.fetchall())

    def drained_since(self, seconds: int) -> None:
        """As if the drain had been made so long ago."""
        self.root.cursor().execute(
            "UPDATE worker_audit_logs SET created_at = created_at - INTERVAL %s SECOND", (seconds,)
        )


@pytest.fixture
def race(database: Database, root: Connection, mariadb: MariaDb, workflow: int) -> Iterator[Race]:
    with closing(Backend(mariadb.connect, registrations_per_minute=None)) as backend:
        yield Race(backend, database, root)


def test_a_poll_that_read_the_row_before_the_drain_may_still_work(race: Race) -> None:
    checked_in = race.backend.check_in(race.token)
    drain_id = race.drain()
    race.drained_since(2)
    assert race.step("look", drain_id)["next"] == "wait"
    race.submit()
    job = race.backend.lease(checked_in)
    assert isinstance(job, Job)
    race.drained_since(70)
    for step in ("look", "terminate"):
        assert race.step(step, drain_id)["next"] == "release"
    race.step("release", drain_id)
    race.backend.complete(race.token, job.dispatch_id, job.lease_token)
    assert race.dispatches()[0]["status"] == "completed"
    assert not race.stage.made("terminate")


def test_a_refused_worker_is_terminated_and_a_job_that_comes_then_waits_for_another(race: Race) -> None:
    drain_id = race.drain()
    race.drained_since(70)
    assert race.backend.poll(race.token) is None
    assert race.step("terminate", drain_id)["next"] == "done"
    assert len(race.stage.made("terminate")) == 1
    race.submit()
    assert race.backend.poll(race.token) is None
    assert race.reconcile() == "acted"
    assert race.dispatches()[0]["status"] == "queued"
    assert race.stage.groups[race.group].desired == 1


def test_a_job_leased_by_a_poll_under_way_is_taken_from_a_warned_worker(race: Race) -> None:
    checked_in = race.backend.check_in(race.token)
    assert race.warned()["requeued"] == 0
    race.submit()
    job = race.backend.lease(checked_in)
    assert isinstance(job, Job)
    assert race.warned()["requeued"] == 1
    assert (race.dispatches()[0]["status"], race.dispatches()[0]["attempts"]) == ("queued", 0)
    with pytest.raises(RefusedError, match="404"):
        race.backend.complete(race.token, job.dispatch_id, job.lease_token)


def test_reconcile_takes_it_when_the_machine_has_died(race: Race) -> None:
    checked_in = race.backend.check_in(race.token)
    race.warned()
    race.submit()
    assert race.backend.lease(checked_in) is not None
    race.reconcile()
    assert race.dispatches()[0]["status"] == "queued"


def test_a_job_that_was_done_before_the_requeue_stays_done(race: Race) -> None:
    race.submit()
    job = race.backend.poll(race.token)
    assert isinstance(job, Job)
    race.backend.complete(race.token, job.dispatch_id, job.lease_token)
    assert race.warned()["requeued"] == 0
    assert race.dispatches()[0]["status"] == "completed"


def test_a_job_leased_again_by_another_is_not_taken_from_it(race: Race) -> None:
    race.submit()
    first = race.backend.poll(race.token)
    assert isinstance(first, Job)
    race.warned()
    other = race.backend.register("i-00000000000000002", [SLUG])
    second = race.backend.poll(other)
    assert isinstance(second, Job)
    assert not race.real["jobs"].requeue(first.dispatch_id, first.lease_token, "spot_interruption", 1, ME)
    race.backend.complete(other, second.dispatch_id, second.lease_token)
    assert (race.dispatches()[0]["status"], race.dispatches()[0]["attempts"]) == ("completed", 1)


def test_a_worker_undrained_because_demand_came_back_gets_the_job(race: Race) -> None:
    drain_id = race.drain()
    assert race.backend.poll(race.token) is None
    race.submit()
    race.reconcile()
    assert isinstance(race.backend.poll(race.token), Job)
    race.drained_since(70)
    assert race.step("terminate", drain_id)["next"] == "done"
    assert not race.stage.made("terminate")
