"""The stage of the sample events: two workflows, and the instance that the samples speak of."""

from lab.mariadb import Connection, empty_tables

INSTANCE = "i-0a1b2c3d4e5f60718"


def nobody(connection: Connection) -> None:
    """Two workflows, no worker, no job."""
    empty_tables(connection)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO workflows (name, slug, created_at) VALUES ('video', 'image-to-video', UTC_TIMESTAMP()), "
            "('swap', 'face-swap', UTC_TIMESTAMP())"
        )


def at_work(connection: Connection) -> None:
    """The instance's worker (row 1) was drained by us (audit row 1) while it held a job; another job waits."""
    nobody(connection)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO comfy_ui_workers (worker_id, registration_source, is_approved, is_draining, current_load, "
            "last_seen_at, created_at) VALUES (%s, 'fleet', 1, 1, 1, UTC_TIMESTAMP(), UTC_TIMESTAMP())",
            (INSTANCE,),
        )
        cursor.execute("INSERT INTO worker_workflows (worker_id, workflow_id) VALUES (1, 1)")
        cursor.execute(
            "INSERT INTO worker_audit_logs (worker_id, worker_identifier, event, metadata, created_at) "
            "VALUES (1, %s, 'fleet_drained', '{\"reason\": \"idle\"}', UTC_TIMESTAMP())",
            (INSTANCE,),
        )
        job = (
            "INSERT INTO ai_job_dispatches (tenant_id, tenant_job_id, provider, workflow_id, status, attempts, "
            "worker_id, lease_token, lease_expires_at, created_at, updated_at) VALUES "
        )
        now = "UTC_TIMESTAMP()"
        cursor.execute(
            f"{job} ('acme', 1, 'self_hosted', 1, 'leased', 1, %s, 'token-1', {now} + INTERVAL 1 HOUR, {now}, {now})",
            (INSTANCE,),
        )
        cursor.execute(f"{job} ('acme', 2, 'self_hosted', 1, 'queued', 0, NULL, NULL, NULL, {now}, {now})")
