"""A stage with live work in the middle of a long past, made by the server itself in a few statements."""

from lab.mariadb import Connection

LIVE = (
    "INSERT INTO workflows (id, name, slug) VALUES (1, 'a', 'a'), (2, 'b', 'b'), (3, 'c', 'c')",
    """INSERT INTO comfy_ui_workers
           (id, worker_id, registration_source, is_approved, is_draining, last_seen_at, created_at)
       SELECT seq, CONCAT('i-', seq), 'fleet', 1, seq % 4 = 0, UTC_TIMESTAMP(), UTC_TIMESTAMP() FROM seq_1_to_20""",
    """INSERT INTO worker_audit_logs (worker_id, worker_identifier, event, metadata, created_at)
       SELECT 1 + seq % 20, CONCAT('i-', 1 + seq % 20), IF(seq % 4 = 3 AND seq > 60, 'fleet_drained', 'poll'),
              '{"reason": "idle"}', UTC_TIMESTAMP() FROM seq_1_to_80""",
    """INSERT INTO ai_job_dispatches (tenant_id, tenant_job_id, provider, workflow_id, status, attempts, worker_id,
                                      lease_token, lease_expires_at, created_at, updated_at)
       SELECT 'live', seq, IF(seq % 7 = 0, 'cloud', 'self_hosted'), seq % 3 + 1, IF(seq % 2, 'queued', 'leased'),
              seq % 3, IF(seq % 2, NULL, CONCAT('i-', 1 + seq % 20)), IF(seq % 2, NULL, UUID()),
              IF(seq % 2, NULL, UTC_TIMESTAMP() + INTERVAL seq MINUTE), UTC_TIMESTAMP(), UTC_TIMESTAMP()
       FROM seq_1_to_40""",
)

PAST = (
    """INSERT INTO ai_job_dispatches (tenant_id, tenant_job_id, provider, workflow_id, status, attempts, worker_id,
                                      lease_token, duration_seconds, created_at, updated_at)
       SELECT 'past', seq, IF(seq % 5 = 0, 'cloud', 'self_hosted'), seq % 3 + 1,
              IF(seq % 20 = 0, 'failed', 'completed'), 1 + seq % 3, CONCAT('i-', seq % 50), UUID(), 60,
              UTC_TIMESTAMP() - INTERVAL seq SECOND, UTC_TIMESTAMP() - INTERVAL seq SECOND FROM seq_1_to_{rows}""",
    """INSERT INTO worker_audit_logs (worker_id, worker_identifier, event, dispatch_id, metadata, created_at)
       SELECT 1000 + seq % 200, CONCAT('i-gone', seq % 200),
              ELT(1 + seq % 5, 'poll', 'complete', 'fleet_drained', 'fleet_undrained', 'requeued'), seq,
              '{{"reason": "idle"}}', UTC_TIMESTAMP() - INTERVAL seq SECOND FROM seq_1_to_{rows}""",
    "ANALYZE TABLE ai_job_dispatches, worker_audit_logs, comfy_ui_workers, workflows",
)


def live_among(root: Connection, past: int) -> None:
    """20 workers and 40 live jobs beside `past` dispatches that are over and as many audit rows of workers gone."""
    with root.cursor() as cursor:
        for statement in (*LIVE, *(text.format(rows=past) for text in PAST)):
            cursor.execute(statement)
