"""The stage's databases and the least-privilege user, made on a server where nothing exists yet."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pymysql
import pytest
from fleet_control.act.database import Database
from fleet_control.act.tenants import GRANTS, USER, TenantDatabases, UserRefused
from fleet_control.errors import DatabaseUnavailable, SchemaNotMigrated

from lab.mariadb import CENTRAL, Connection, MariaDb, load_schema

from .conftest import PASSWORD, as_master, open_as


@pytest.fixture(scope="module")
def empty_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    with MariaDb(Path(tmp_path_factory.mktemp("empty"))) as server:
        yield server


@pytest.fixture
def first_day(empty_server: MariaDb) -> MariaDb:
    """As at the first deployment: a master user, and neither databases nor tables nor our user."""
    with empty_server.connect(database=None) as root, root.cursor() as cursor:
        for name in (CENTRAL, "tenant_pool_1", "tenant_pool_2", "secret_pool"):
            cursor.execute(f"DROP DATABASE IF EXISTS {name}")
        cursor.execute(f"DROP USER IF EXISTS {USER}")
    return empty_server


@pytest.fixture
def tenants(first_day: MariaDb) -> Iterator[TenantDatabases]:
    with closing(as_master(first_day)) as master:
        yield TenantDatabases(master)


def migrate(server: MariaDb) -> None:
    with server.connect() as root:
        load_schema(root)


def as_user(server: MariaDb, password: str = PASSWORD) -> Database:
    return open_as(server, USER, password)


def ready(tenants: TenantDatabases, server: MariaDb) -> None:
    tenants.create(CENTRAL)
    migrate(server)
    tenants.set_user(PASSWORD)
    assert tenants.grant(CENTRAL) == ()


def raw_session(server: MariaDb) -> Connection:
    return server.connect(user=USER, password=PASSWORD)


def test_databases_are_created_in_unicode_and_left_alone_after(tenants: TenantDatabases, first_day: MariaDb) -> None:
    tenants.create("tenant_pool_1")
    with first_day.connect(database="tenant_pool_1") as root, root.cursor() as cursor:
        cursor.execute("CREATE TABLE precious (id int)")
        tenants.create("tenant_pool_1")
        cursor.execute("SELECT @@collation_database AS collation, COUNT(*) AS n FROM precious")
        assert cursor.fetchone() == {"collation": "utf8mb4_unicode_ci", "n": 0}


def test_before_the_migration_every_table_is_pending_and_reads_hold(
    tenants: TenantDatabases, first_day: MariaDb
) -> None:
    tenants.create(CENTRAL)
    tenants.set_user(PASSWORD)
    assert tenants.grant(CENTRAL) == tuple(f"{CENTRAL}.{table}" for table in GRANTS)
    with pytest.raises(SchemaNotMigrated), closing(as_user(first_day)) as session:
        session.query("SELECT 1 FROM workflows")


def test_after_the_migration_a_second_run_grants_the_rest(tenants: TenantDatabases, first_day: MariaDb) -> None:
    tenants.create(CENTRAL)
    tenants.set_user(PASSWORD)
    assert tenants.grant(CENTRAL)
    migrate(first_day)
    assert tenants.grant(CENTRAL) == ()
    assert tenants.grant(CENTRAL) == ()
    with closing(as_user(first_day)) as session:
        assert session.query("SELECT COUNT(*) AS n FROM workflows") == [{"n": 0}]


def test_a_migration_half_way_leaves_only_what_is_missing_pending(tenants: TenantDatabases, first_day: MariaDb) -> None:
    tenants.create(CENTRAL)
    migrate(first_day)
    with first_day.connect() as root, root.cursor() as cursor:
        cursor.execute("DROP TABLE worker_audit_logs")
    tenants.set_user(PASSWORD)
    assert tenants.grant(CENTRAL) == (f"{CENTRAL}.worker_audit_logs",)


def test_a_rotated_password_replaces_the_old_one(tenants: TenantDatabases, first_day: MariaDb) -> None:
    ready(tenants, first_day)
    tenants.set_user("the next one's \\ 'quotes' %s")
    with closing(as_user(first_day, "the next one's \\ 'quotes' %s")) as session:
        assert session.query("SELECT 1 AS one") == [{"one": 1}]
    with pytest.raises(DatabaseUnavailable, match="refused"):
        as_user(first_day).query("SELECT 1")


def test_the_user_must_come_over_tls(tenants: TenantDatabases, first_day: MariaDb) -> None:
    ready(tenants, first_day)
    with pytest.raises(pymysql.OperationalError, match="Access denied"):
        first_day.connect(
            user=USER, password=PASSWORD, ssl_ca=None, ssl_verify_cert=None, ssl_verify_identity=None, ssl_disabled=True
        )


ALLOWED = [
    "SELECT * FROM workflows",
    "SELECT * FROM worker_audit_logs",
    "SELECT id FROM comfy_ui_workers WHERE id = 1 FOR UPDATE",
    "UPDATE ai_job_dispatches SET status = 'queued', worker_id = NULL, lease_token = NULL, lease_expires_at = NULL,"
    " last_error = 'x', attempts = IF(attempts > 0, attempts - 1, 0), updated_at = UTC_TIMESTAMP() WHERE id = 1",
    "UPDATE comfy_ui_workers SET is_draining = 1, updated_at = UTC_TIMESTAMP() WHERE id = 1 AND is_draining = 0",
    "DELETE FROM worker_workflows WHERE worker_id = 1",
    "DELETE FROM comfy_ui_workers WHERE id = 1",
    "INSERT INTO worker_audit_logs (event) VALUES ('fleet_drained')",
]

FORBIDDEN = [
    "DROP TABLE workflows",
    "DROP DATABASE bp",
    "DROP DATABASE tenant_pool_1",
    "TRUNCATE TABLE ai_job_dispatches",
    "ALTER TABLE ai_job_dispatches ADD COLUMN x int",
    "CREATE INDEX i ON ai_job_dispatches (attempts, status)",
    "CREATE TABLE bp.own (id int)",
    "DELETE FROM ai_job_dispatches",
    "DELETE FROM worker_audit_logs",
    "UPDATE worker_audit_logs SET event = 'x'",
    "INSERT INTO ai_job_dispatches (tenant_id, tenant_job_id, workflow_id) VALUES ('t', 1, 1)",
    "UPDATE ai_job_dispatches SET priority = 9",
    "UPDATE ai_job_dispatches SET tenant_id = 'other'",
    "UPDATE ai_job_dispatches SET duration_seconds = 0",
    "UPDATE comfy_ui_workers SET is_approved = 1",
    "UPDATE comfy_ui_workers SET token_hash = 'mine'",
    "INSERT INTO comfy_ui_workers (worker_id) VALUES ('i-1')",
    "UPDATE workflows SET is_active = 0",
    "SELECT * FROM tenants",
    "SELECT * FROM tenant_pool_1.ai_jobs",
    "SELECT * FROM tenant_pool_1.token_wallets",
    "SELECT password FROM mysql.user",
    "CREATE USER another",
    "GRANT SELECT ON bp.workflows TO another",
]


@pytest.mark.parametrize("statement", ALLOWED)
def test_what_the_code_does_is_allowed(mariadb: MariaDb, root: Connection, statement: str) -> None:
    with raw_session(mariadb) as session, session.cursor() as cursor:
        cursor.execute(statement)
        assert cursor.rowcount >= 0


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_anything_else_is_refused(mariadb: MariaDb, root: Connection, statement: str) -> None:
    with (
        raw_session(mariadb) as session,
        session.cursor() as cursor,
        pytest.raises(pymysql.OperationalError, match="denied"),
    ):
        cursor.execute(statement)


def test_grants_beyond_the_list_are_taken_away(tenants: TenantDatabases, first_day: MariaDb) -> None:
    ready(tenants, first_day)
    tenants.create("secret_pool")
    with first_day.connect() as root, root.cursor() as cursor:
        cursor.execute(f"GRANT DROP ON *.* TO {USER}")
        cursor.execute(f"GRANT SELECT, INSERT ON secret_pool.* TO {USER}")
        cursor.execute(f"GRANT SELECT ON bp.tenants TO {USER}")
        cursor.execute(f"GRANT UPDATE (priority) ON bp.ai_job_dispatches TO {USER}")
    assert set(tenants.revoke_surplus(CENTRAL)) == {
        "DROP on *.*",
        "SELECT on `secret_pool`.*",
        "INSERT on `secret_pool`.*",
        "SELECT on `bp`.`tenants`",
        "UPDATE (`priority`) on `bp`.`ai_job_dispatches`",
    }
    assert tenants.revoke_surplus(CENTRAL) == ()
    with closing(as_user(first_day)) as session:
        assert session.execute("UPDATE ai_job_dispatches SET status = 'queued' WHERE id = 1") == 0


def test_what_a_role_would_lend_is_taken_away_with_the_role(tenants: TenantDatabases, first_day: MariaDb) -> None:
    ready(tenants, first_day)
    with first_day.connect(user=first_day.master.username, password=first_day.master.password) as master:
        lend_a_role(master)
    with closing(as_user(first_day)) as session:
        assert session.execute("DELETE FROM bp.tenants") == 0, "the role lends nothing: no test at all"
    assert tenants.revoke_surplus(CENTRAL) == ("`generous`",)
    assert tenants.revoke_surplus(CENTRAL) == ()
    with closing(as_user(first_day)) as session:
        assert session.query("SELECT slug FROM workflows") == []


def lend_a_role(administrator: Connection) -> None:
    """A role with a right that the user must not have, which the user has at every login."""
    with administrator.cursor() as cursor:
        for statement in (
            "DROP ROLE IF EXISTS generous",
            "CREATE ROLE generous",
            "GRANT DELETE ON bp.* TO generous",
            f"GRANT generous TO {USER}",
            f"SET DEFAULT ROLE generous FOR {USER}",
        ):
            cursor.execute(statement)


def test_a_role_of_somebody_else_is_refused_by_its_name(tenants: TenantDatabases, first_day: MariaDb) -> None:
    ready(tenants, first_day)
    with first_day.connect() as root:
        lend_a_role(root)
    with pytest.raises(UserRefused, match="user fleet_control keeps `generous`"):
        tenants.revoke_surplus(CENTRAL)


def test_a_routine_that_would_run_as_another_is_out_of_reach(tenants: TenantDatabases, first_day: MariaDb) -> None:
    """A routine runs with the rights of who made it, unless it says otherwise."""
    ready(tenants, first_day)
    with first_day.connect() as root, root.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE PROCEDURE bp.forget_tenants() DELETE FROM bp.tenants")
        cursor.execute(f"GRANT EXECUTE, ALTER ROUTINE ON PROCEDURE bp.forget_tenants TO {USER} WITH GRANT OPTION")
        assert set(tenants.revoke_surplus(CENTRAL)) == {
            f"{privilege} on PROCEDURE `bp`.`forget_tenants`"
            for privilege in ("EXECUTE", "ALTER ROUTINE", "GRANT OPTION")
        }
        cursor.execute("DROP PROCEDURE bp.forget_tenants")
    assert tenants.revoke_surplus(CENTRAL) == ()


@pytest.mark.parametrize("target", ["*.*", "`bp`.*", "`bp`.`workflows`"])
@pytest.mark.parametrize("privilege", ["SELECT", "USAGE"])
def test_the_right_to_pass_grants_on_is_taken_away(
    tenants: TenantDatabases, first_day: MariaDb, target: str, privilege: str
) -> None:
    ready(tenants, first_day)
    with first_day.connect() as root, root.cursor() as cursor:
        cursor.execute(f"GRANT {privilege} ON {target} TO {USER} WITH GRANT OPTION")
        assert f"GRANT OPTION on {target}" in tenants.revoke_surplus(CENTRAL)
        cursor.execute(f"SHOW GRANTS FOR {USER}")
        assert not [row for row in cursor.fetchall() if "GRANT OPTION" in str(row)]
    assert tenants.revoke_surplus(CENTRAL) == ()
    with closing(as_user(first_day)) as session:
        assert session.query("SELECT slug FROM workflows") == []
