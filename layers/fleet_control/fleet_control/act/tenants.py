"""The databases of a stage and the control plane's own user in them, as the master user. Nothing is ever dropped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

import pymysql

from fleet_control.act.database import Database, Row
from fleet_control.errors import BadEvent, FleetControlError, SchemaNotMigrated

USER = "fleet_control"
_ACCOUNT = (USER, "%")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_GRANTEE = f"'{USER}'@'%'"

# Exactly what the statements of this package need: table → privilege → columns (none: the whole table).
GRANTS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "workflows": {"SELECT": ()},
        "ai_job_dispatches": {
            "SELECT": (),
            "UPDATE": (
                "status",
                "worker_id",
                "lease_token",
                "lease_expires_at",
                "last_error",
                "attempts",
                "updated_at",
            ),
        },
        "comfy_ui_workers": {"SELECT": (), "DELETE": (), "UPDATE": ("is_draining", "updated_at")},
        "worker_workflows": {"SELECT": (), "DELETE": ()},
        "worker_audit_logs": {"SELECT": (), "INSERT": ()},
    }
)

# What the user holds beyond GRANTS, whoever gave it: an older release, or somebody in a hurry. Names come quoted.
_HELD = """
SELECT privilege_type AS privilege, '*.*' AS target, NULL AS col, is_grantable = 'YES' AS may_be_passed_on
FROM information_schema.user_privileges WHERE grantee = %(grantee)s
UNION ALL SELECT privilege_type, CONCAT('`', REPLACE(table_schema, '`', '``'), '`.*'), NULL, is_grantable = 'YES'
FROM information_schema.schema_privileges WHERE grantee = %(grantee)s
UNION ALL SELECT privilege_type,
       CONCAT('`', REPLACE(table_schema, '`', '``'), '`.`', REPLACE(table_name, '`', '``'), '`'), NULL,
       is_grantable = 'YES'
FROM information_schema.table_privileges WHERE grantee = %(grantee)s
UNION ALL SELECT privilege_type,
       CONCAT('`', REPLACE(table_schema, '`', '``'), '`.`', REPLACE(table_name, '`', '``'), '`'),
       REPLACE(column_name, '`', '``'), is_grantable = 'YES'
FROM information_schema.column_privileges WHERE grantee = %(grantee)s
UNION ALL SELECT may.privilege,
       CONCAT(routine_type, ' `', REPLACE(db, '`', '``'), '`.`', REPLACE(routine_name, '`', '``'), '`'), NULL,
       FIND_IN_SET('Grant', proc_priv) > 0
FROM mysql.procs_priv
JOIN (SELECT 'Execute' AS flag, 'EXECUTE' AS privilege UNION ALL SELECT 'Alter Routine', 'ALTER ROUTINE'
      UNION ALL SELECT 'Grant', 'USAGE') AS may ON FIND_IN_SET(may.flag, proc_priv)
WHERE user = %(user)s AND host = '%%'
UNION ALL SELECT 'ROLE', CONCAT('`', REPLACE(role, '`', '``'), '`'), NULL, FALSE
FROM mysql.roles_mapping WHERE user = %(user)s AND host = '%%'
"""

Held = tuple[str, str, str | None]  # privilege (or ROLE), target (or the role's name), column


class UserRefused(FleetControlError):  # noqa: N818 - what happened, like its siblings
    """The server would not create or change the user; its own text is withheld, since it may quote the password."""

    reason = "user refused"


class TenantDatabases:
    """Names become identifiers, which cannot be bound as parameters: every one goes through `_quoted`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str) -> None:
        """Leaves a database that exists as it is."""
        self._database.execute(
            f"CREATE DATABASE IF NOT EXISTS {_quoted(name)} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"
        )

    def set_user(self, password: str) -> None:
        """The user exists afterwards with this password, and must use TLS where we do."""
        require = "REQUIRE SSL" if self._database.uses_tls else "REQUIRE NONE"
        try:
            for verb in ("CREATE USER IF NOT EXISTS", "ALTER USER"):
                self._database.execute(f"{verb} %s@%s IDENTIFIED BY %s {require}", (*_ACCOUNT, password))
        except pymysql.MySQLError as error:
            raise UserRefused(f"user {USER}: the server answered error {error.args[0]}") from None

    def grant(self, central: str) -> tuple[str, ...]:
        """Grants what is possible now; gives the tables whose turn comes once the backend has created them."""
        pending = []
        for table, privileges in GRANTS.items():
            what = ", ".join(_clause(privilege, columns) for privilege, columns in privileges.items())
            try:
                self._database.execute(f"GRANT {what} ON {_quoted(central)}.`{table}` TO %s@%s", _ACCOUNT)
            except SchemaNotMigrated:
                pending.append(f"{central}.{table}")
        return tuple(pending)

    def revoke_surplus(self, central: str) -> tuple[str, ...]:
        """Takes away whatever the user holds beyond GRANTS; gives what that was. Raises UserRefused naming what stays:
        a role can be taken only by who administers it."""
        held = _held(self._database.query(_HELD, {"grantee": _GRANTEE, "user": USER}))
        surplus = sorted(held - _wanted(central), key=str)
        for one in surplus:
            # A grant on `pool_%` holds a percent sign, which the driver would take for a parameter.
            revoke = f"REVOKE {_named(one, ' ON ')}".replace("%", "%%")
            try:
                self._database.execute(f"{revoke} FROM %s@%s", _ACCOUNT)
            except pymysql.MySQLError as error:
                raise UserRefused(f"user {USER} keeps {_named(one, ' on ')}: error {error.args[0]}") from None
        return tuple(_named(one, " on ") for one in surplus)


def _quoted(name: str) -> str:
    """The name as an identifier. Raises BadEvent for anything but a plain one, wherever it came from."""
    if not _NAME.fullmatch(name):
        raise BadEvent(f"{name!r} is no database name: it must match ^{_NAME.pattern}$")
    return f"`{name}`"


def _held(rows: list[Row]) -> set[Held]:
    """USAGE means none. The right to pass privileges on is one of its target, whatever row tells of it."""
    passed_on: set[Held] = {("GRANT OPTION", row["target"], None) for row in rows if row["may_be_passed_on"]}
    return passed_on | {(r["privilege"], r["target"], r["col"]) for r in rows if r["privilege"] != "USAGE"}


def _named(held: Held, on: str) -> str:
    """As REVOKE calls it. A role has no target: its name is what is held."""
    privilege, target, column = held
    return target if privilege == "ROLE" else f"{_clause(privilege, (column,) if column else ())}{on}{target}"


def _clause(privilege: str, columns: tuple[str, ...]) -> str:
    return f"{privilege} ({', '.join(f'`{column}`' for column in columns)})" if columns else privilege


def _wanted(central: str) -> set[Held]:
    return {
        (privilege, f"`{central}`.`{table}`", column)
        for table, privileges in GRANTS.items()
        for privilege, columns in privileges.items()
        for column in (columns or (None,))
    }
