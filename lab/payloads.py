"""What a job asks of its worker. The platform keeps it in the tenant's pool; the lab keeps seconds of work instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lab.sessions import Session

if TYPE_CHECKING:
    from lab.mariadb import Connection

DEFAULT_SECONDS = 1.0


class Payloads:
    """Table `lab.jobs`, keyed like the tenant's job; written before the dispatch, as the application does."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._db = Session(connect)

    def create(self) -> None:
        with self._db.request():
            self._db.write(
                "CREATE TABLE IF NOT EXISTS lab.jobs (tenant_id varchar(255) NOT NULL, tenant_job_id bigint unsigned "
                "NOT NULL, seconds double NOT NULL, PRIMARY KEY (tenant_id, tenant_job_id))"
            )

    def put(self, tenant: str, tenant_job_id: int, seconds: float) -> None:
        with self._db.request():
            self._db.write("INSERT INTO lab.jobs VALUES (%s, %s, %s)", tenant, tenant_job_id, seconds)

    def seconds(self, tenant: str, tenant_job_id: int) -> float:
        """Seconds of work; DEFAULT_SECONDS for a job that somebody queued by hand."""
        with self._db.request():
            rows = self._db.rows(
                "SELECT seconds FROM lab.jobs WHERE tenant_id = %s AND tenant_job_id = %s", tenant, tenant_job_id
            )
        return float(rows[0]["seconds"]) if rows else DEFAULT_SECONDS

    def close(self) -> None:
        self._db.close()
