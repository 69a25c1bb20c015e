"""SQL of the product: constants with bound parameters, and identifiers from a validated list only."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fleet_control.act.database import Database
from fleet_control.act.tenants import GRANTS, TenantDatabases
from fleet_control.errors import BadEvent

from .sql_rules import Finding, findings, read_modules
from .test_custom_resources import BAD_NAMES

ROOT = Path(__file__).parents[2]
PRODUCT = ("layers/fleet_control/fleet_control", "functions")
ACT = "layers/fleet_control/fleet_control/act"
TENANTS, WORKERS = f"{ACT}/tenants.py", f"{ACT}/workers.py"

ALLOWED = {
    Finding(
        f"{TENANTS}:create",
        "f'CREATE DATABASE IF NOT EXISTS {_quoted(name)} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci'",
    ): "an identifier cannot be bound; _quoted lets plain names through alone",
    Finding(
        f"{TENANTS}:set_user", "f'{verb} %s@%s IDENTIFIED BY %s {require}'"
    ): "both are one of two texts written in the same function; user and password are bound",
    Finding(
        f"{TENANTS}:grant", "f'GRANT {what} ON {_quoted(central)}.`{table}` TO %s@%s'"
    ): "privileges, tables and columns are those of GRANTS, all plain; the database goes through _quoted",
    Finding(
        f"{TENANTS}:revoke_surplus", "f'{revoke} FROM %s@%s'"
    ): "what the server itself lists as held, its names quoted by the same query, percent signs doubled",
    Finding(f"{WORKERS}:fleet", "FLEET_WORKERS"): "made of two constants when the module is loaded",
    Finding(f"{WORKERS}:one", "ONE_WORKER"): "made of two constants when the module is loaded",
}
"""Every statement that is not a constant, and why it may stand. One that changes must be thought about again."""


def test_every_statement_is_a_constant_or_allowed_for_a_reason() -> None:
    assert set(findings(read_modules(ROOT, *PRODUCT))) == set(ALLOWED)


def test_statements_joined_when_a_module_is_loaded_are_joined_of_constants() -> None:
    [workers] = [module for module in read_modules(ROOT, ACT) if module.name == WORKERS]
    source = (ROOT / WORKERS).read_text()
    assert 'FLEET_WORKERS = _WORKERS.format(which="LIKE %s")\n' in source
    assert 'ONE_WORKER = _WORKERS.format(which="= %s")\n' in source
    assert "_WORKERS" in workers.constants


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for folder in PRODUCT:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


MUTATIONS = [
    ("percent", "jobs.py", 'query(BACKLOG, {"slugs": slugs})', 'query(BACKLOG % {"slugs": slugs})'),
    ("an f-string", "jobs.py", "query(WORKFLOWS)", 'query(f"{WORKFLOWS} LIMIT {self.limit}")'),
    ("format", "jobs.py", "query(LIVE)", "query(LIVE.format(1))"),
    ("plus", "jobs.py", "query(NEWEST)", 'query(NEWEST + " LIMIT 1")'),
    ("join", "jobs.py", "query(NEWEST)", 'query(" ".join([NEWEST]))'),
    ("another method", "jobs.py", "query(NEWEST)", "query(NEWEST.strip())"),
    ("a keyword", "jobs.py", "query(NEWEST)", "query(sql=NEWEST + self.more)"),
    ("a choice", "jobs.py", "query(NEWEST)", "query(NEWEST if self.x else self.y)"),
    ("a parameter", "jobs.py", "def newest(self)", "def newest(self, NEWEST=LIVE)"),
    ("a local name", "jobs.py", "return self._database.query(NEWEST)", "q = NEWEST\n        self._database.query(q)"),
    (
        "a shadow",
        "jobs.py",
        "return self._database.query(LIVE)",
        "LIVE = str(self)\n        self._database.query(LIVE)",
    ),
    ("an alias", "jobs.py", "return self._database.query(LIVE)", "run = self._database.query\n        run(str(self))"),
    ("handed over", "jobs.py", "return self._database.query(LIVE)", "return list(map(self._database.query, self.all))"),
    ("a constant that is none", "jobs.py", 'WORKFLOWS = "SELECT', 'WORKFLOWS = f"{__name__}" "SELECT'),
    ("a constant twice", "jobs.py", "REQUEUE = ", "REQUEUE = input()\nREQUEUE = "),
    ("behind a helper", "queue_metrics.py", "self._by_workflow(LIVE)", 'self._by_workflow(f"{LIVE} {self}")'),
    ("inside a helper", "database.py", "cursor.execute(sql, params)", "cursor.execute(sql % params)"),
    (
        "a helper's own change",
        "database.py",
        "                self.statements += 1\n",
        "                sql = sql.lower()\n",
    ),
    ("at the start of a session", "database.py", "init_command=_SESSION", 'init_command=_SESSION + f"{login}"'),
    ("an identifier unchecked", "tenants.py", "{_quoted(name)}", "`{name}`"),
    ("a password in the text", "tenants.py", "IDENTIFIED BY %s {require}", "IDENTIFIED BY '{password}' {require}"),
]


@pytest.mark.parametrize(("file", "old", "new"), [m[1:] for m in MUTATIONS], ids=[m[0] for m in MUTATIONS])
def test_a_statement_put_together_is_found(copy: Path, file: str, old: str, new: str) -> None:
    path = copy / ACT / file
    source = path.read_text()
    assert source.count(old) >= 1
    path.write_text(source.replace(old, new, 1))
    surplus = set(findings(read_modules(copy, *PRODUCT))) - set(ALLOWED)
    assert {found.where.partition(":")[0] for found in surplus} == {f"{ACT}/{file}"}


def test_a_statement_put_together_in_a_handler_is_found(copy: Path) -> None:
    path = copy / "functions/scale_in/app.py"
    path.write_text(
        path.read_text() + "\n\ndef sneak(database, event):\n    database.query(f\"SELECT {event['x']}\")\n"
    )
    [found] = set(findings(read_modules(copy, *PRODUCT))) - set(ALLOWED)
    assert found.where == "functions/scale_in/app.py:sneak"


def never(*, fresh: bool) -> object:
    raise AssertionError("the database was asked")


CALLS: list[Callable[[TenantDatabases, str], object]] = [TenantDatabases.create, TenantDatabases.grant]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES.keys())
def test_no_other_name_becomes_an_identifier_whoever_asks(
    call: Callable[[TenantDatabases, str], object], name: str
) -> None:
    databases = TenantDatabases(Database(never, database=None))  # type: ignore[arg-type]
    with pytest.raises(BadEvent, match="is no database name"):
        call(databases, name)


def test_tables_and_columns_of_grants_are_plain_names() -> None:
    names = [*GRANTS, *(c for privileges in GRANTS.values() for columns in privileges.values() for c in columns)]
    assert [name for name in names if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name)] == []
    assert {privilege for privileges in GRANTS.values() for privilege in privileges} <= {
        "SELECT",
        "INSERT",
        "UPDATE",
        "DELETE",
    }
