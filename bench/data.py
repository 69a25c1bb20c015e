"""Rows of the contract's tables at any scale, made by the server itself, the same ones each time.

History goes in by bulk load into empty tables (the server then sorts each index once). What is live or recent goes in
on top and can be exchanged without loading the history again.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from bench.scale import NOW, Scale, slug
from lab.mariadb import Connection, MariaDb

MEMORY = 1 << 30
"""Buffer pool in bytes: what RDS gives a db.t4g.small (three quarters of 2 GB), less what the server needs itself."""

GONE_WORKERS = 50_000
"""Rows of history name workers that went long ago."""

# Standard normal from two hashes of a row's number, by Box and Muller; GPU jobs of 240 s in the median.
DURATION = """ROUND(EXP(LN(240) + 0.6 * SQRT(-2 * LN((CRC32({n}) + 1) / 4294967297))
    * COS(2 * PI() * CONV(LEFT(MD5({n}), 8), 16, 10) / 4294967296)))"""

FINISHED = """
INSERT INTO ai_job_dispatches (id, tenant_id, tenant_job_id, provider, workflow_id, status, attempts, worker_id,
                               lease_token, duration_seconds, created_at, updated_at)
SELECT seq, CONCAT('tenant-', seq MOD 500), seq, 'self_hosted', 1 + seq MOD {fleets},
       IF(seq MOD 33, 'completed', 'failed'), 1, {worker}, MD5(seq), {duration},
       {finished} - INTERVAL 400 SECOND, {finished}
FROM seq_{first}_to_{last}
"""

# Two rows a job: the lease and the end; of one job in fifty a requeue instead of the lease, for no Spot reason.
AUDIT = """
INSERT INTO worker_audit_logs (id, worker_id, worker_identifier, event, dispatch_id, created_at)
SELECT seq, {row}, {worker}, CASE WHEN seq MOD 100 = 1 THEN 'requeued' WHEN seq MOD 2 THEN 'poll'
       WHEN seq DIV 2 MOD 33 THEN 'complete' ELSE 'fail' END, (seq + 1) DIV 2,
       {finished} - INTERVAL (seq MOD 2) * 300 SECOND
FROM seq_{first}_to_{last}
"""

DELETE = "DELETE FROM {table} WHERE id > {last}"

WORKFLOWS = "INSERT INTO workflows (id, name, slug, created_at) VALUES (%s, %s, %s, UTC_TIMESTAMP())"

WORKERS = """
INSERT INTO comfy_ui_workers (id, worker_id, registration_source, is_approved, is_draining, last_seen_at, created_at)
SELECT seq, {worker}, 'fleet', 1, {number} = 0, UTC_TIMESTAMP() - INTERVAL 3 SECOND,
       UTC_TIMESTAMP() - INTERVAL 1 HOUR
FROM seq_1_to_{workers}
"""

SERVED = """
INSERT INTO worker_workflows (worker_id, workflow_id)
SELECT seq, 1 + (seq - 1) MOD {fleets} FROM seq_1_to_{workers}
"""

WORKER_AUDIT = """
INSERT INTO worker_audit_logs (worker_id, worker_identifier, event, metadata, created_at)
SELECT id, worker_id, 'registered', NULL, created_at FROM comfy_ui_workers
UNION ALL
SELECT id, worker_id, 'fleet_drained', '{"reason": "spot_interruption"}', UTC_TIMESTAMP() - INTERVAL 20 SECOND
FROM comfy_ui_workers WHERE is_draining
"""

# The job of one fleet that is older than all others has used its last attempt: stuck.
LEASED = """
INSERT INTO ai_job_dispatches (tenant_id, tenant_job_id, provider, workflow_id, status, attempts, worker_id,
                               lease_token, lease_expires_at, created_at, updated_at)
SELECT 'live', seq, 'self_hosted', 1 + (seq - 1) MOD {fleets}, 'leased', IF({number} = 1, 3, 1), {worker}, MD5(seq),
       UTC_TIMESTAMP() + INTERVAL IF({number} = 1, -30, 900) SECOND, UTC_TIMESTAMP() - INTERVAL 300 SECOND,
       UTC_TIMESTAMP() - INTERVAL 60 SECOND
FROM seq_1_to_{leases}
"""

QUEUED = """
INSERT INTO ai_job_dispatches (tenant_id, tenant_job_id, provider, workflow_id, status, created_at, updated_at)
SELECT 'live', {leases} + seq, 'self_hosted', 1 + (seq - 1) MOD {fleets}, 'queued',
       UTC_TIMESTAMP() - INTERVAL seq MOD 240 SECOND, UTC_TIMESTAMP() - INTERVAL seq MOD 240 SECOND
FROM seq_1_to_{queued}
"""

REQUEUED = """
INSERT INTO worker_audit_logs (worker_id, event, dispatch_id, metadata, created_at)
SELECT 1, 'requeued', id, '{"reason": "spot_interruption"}', UTC_TIMESTAMP() - INTERVAL 60 SECOND
FROM ai_job_dispatches WHERE tenant_id = 'live' AND status = 'queued' AND tenant_job_id MOD 100 = 0
"""

INSTANCE = "LOWER(CONCAT('i-', LPAD(HEX({fleet}), 8, '0'), LPAD(HEX({number}), 9, '0')))"


class Data:
    """The tables of one server."""

    def __init__(self, server: MariaDb) -> None:
        self._server = server
        self._old = 0

    def prepare(self) -> None:
        """Stop the clock for everybody but root, and give the server its memory."""
        with closing(self._server.connect()) as root:
            _run(root, f"SET GLOBAL init_connect = 'SET timestamp = {NOW}'")
            _run(root, f"SET GLOBAL innodb_buffer_pool_size = {MEMORY}")
            _run(root, f"SET GLOBAL innodb_log_file_size = {MEMORY // 2}")

    def load(self, scale: Scale) -> None:
        """Everything anew, history first: one core a table."""
        self._old = scale.old
        jobs = FINISHED.format(
            fleets=scale.fleets,
            worker=_instance("0x7fff", f"seq MOD {GONE_WORKERS}"),
            duration=DURATION.format(n="seq"),
            finished=f"UTC_TIMESTAMP() - INTERVAL 1200 + ({scale.old} - seq) * 2 SECOND",
            first=1,
            last=scale.old,
        )
        audit = AUDIT.format(
            row=f"10000000 + (seq + 1) DIV 2 MOD {GONE_WORKERS}",
            worker=_instance("0x7fff", f"(seq + 1) DIV 2 MOD {GONE_WORKERS}"),
            finished=f"UTC_TIMESTAMP() - INTERVAL 1200 + ({scale.old} - (seq + 1) DIV 2) * 2 SECOND",
            first=1,
            last=2 * scale.old,
        )
        with ThreadPoolExecutor(2) as both:
            done = [
                both.submit(self._bulk, "ai_job_dispatches", jobs),
                both.submit(self._bulk, "worker_audit_logs", audit),
            ]
        for one in done:
            one.result()
        self.put_live(scale)

    def _bulk(self, table: str, insert: str) -> None:
        with closing(self._session()) as session:
            _run(session, f"TRUNCATE {table}")
            _run(session, "SET unique_checks = 0, foreign_key_checks = 0")
            _run(session, insert)

    def put_live(self, scale: Scale) -> None:
        """Exchange what is live or recent. The history stays as it was loaded, with the workflows it had then."""
        with closing(self._session()) as session:
            for statement in self._clearing():
                _run(session, statement)
            for fleet in range(scale.fleets):
                _run(session, WORKFLOWS, (fleet + 1, slug(fleet), slug(fleet)))
            for statement in self._recent(scale) + _live(scale):
                _run(session, statement)
            _run(session, "ANALYZE TABLE workflows, comfy_ui_workers, ai_job_dispatches, worker_audit_logs")
            # Rows that were deleted are still in the indexes until the server has purged them.
            _run(session, "SET GLOBAL innodb_max_purge_lag_wait = 0")

    def _clearing(self) -> list[str]:
        tables = ("worker_workflows", "comfy_ui_workers", "workflows")
        return [
            DELETE.format(table="ai_job_dispatches", last=self._old),
            DELETE.format(table="worker_audit_logs", last=2 * self._old),
            "SET foreign_key_checks = 0",
            *(f"TRUNCATE {table}" for table in tables),
            "SET foreign_key_checks = 1",
        ]

    def _recent(self, scale: Scale) -> list[str]:
        """Jobs of the last twenty minutes, by workers that are still there."""
        first, last = self._old + 1, self._old + scale.recent
        ended = f"UTC_TIMESTAMP() - INTERVAL FLOOR(({last} - {{n}}) * 1200 / {scale.recent}) SECOND"
        job = "((seq + 1) DIV 2)"
        return [
            FINISHED.format(
                fleets=scale.fleets,
                worker=_worker(scale, "seq"),
                duration=DURATION.format(n="seq"),
                finished=ended.format(n="seq"),
                first=first,
                last=last,
            ),
            AUDIT.format(
                row=f"1 + {job} MOD {scale.workers}",
                worker=_worker(scale, job),
                finished=ended.format(n=job),
                first=2 * first - 1,
                last=2 * last,
            ),
        ]

    def _session(self) -> Connection:
        session = self._server.connect(read_timeout=None)
        _run(session, f"SET timestamp = {NOW}, sql_mode = ''")
        return session


def _live(scale: Scale) -> list[str]:
    fleets, leases = scale.fleets, scale.leases * scale.fleets
    row = _instance(f"((seq - 1) MOD {fleets})", f"((seq - 1) DIV {fleets})")
    holder = _instance(f"((seq - 1) MOD {fleets})", f"(1 + (seq - 1) DIV {fleets})")
    return [
        WORKERS.format(worker=row, number=f"((seq - 1) DIV {fleets})", workers=scale.workers),
        SERVED.format(fleets=fleets, workers=scale.workers),
        WORKER_AUDIT,
        LEASED.format(fleets=fleets, worker=holder, number=f"(1 + (seq - 1) DIV {fleets})", leases=leases),
        QUEUED.format(fleets=fleets, leases=leases, queued=scale.live - leases),
        REQUEUED,
    ]


def _instance(fleet: str, number: str) -> str:
    return INSTANCE.format(fleet=fleet, number=number)


def _worker(scale: Scale, job: str) -> str:
    row = f"({job} MOD {scale.workers})"
    return _instance(f"({row} MOD {scale.fleets})", f"({row} DIV {scale.fleets})")


def _run(session: Connection, sql: str, params: tuple[object, ...] | None = None) -> None:
    with session.cursor() as cursor:
        cursor.execute(sql, params)
