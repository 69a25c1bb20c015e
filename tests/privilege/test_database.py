"""The database user, both ways: the whole system runs as it, uses every grant it has, and can do nothing else."""

from __future__ import annotations

import re

import pytest
from fleet_control.act.tenants import GRANTS

from .conftest import Run
from .statements import FORBIDDEN

GRANTED = [
    (table, privilege, column)
    for table, privileges in GRANTS.items()
    for privilege, columns in privileges.items()
    for column in columns or (None,)
]


@pytest.fixture(scope="module")
def statements(run: Run) -> list[str]:
    return [" ".join(statement.split()) for statement in run.evidence("statements.json")]


def test_functions_log_in_as_themselves_and_only_the_first_deployment_as_the_master(run: Run) -> None:
    logins = [login for login in run.evidence("logins.json") if not login.startswith("Access denied")]
    users = {login.split("@")[0]: login for login in logins}
    assert users.keys() == {"fleet_control", "admin", "root", "backend"}  # the last two are the lab's own
    assert all(login.endswith("using SSL/TLS") for login in logins)


def test_nothing_the_functions_did_was_denied_to_their_user(run: Run) -> None:
    logs = sorted((run.directory / "run" / "logs").glob("*.log"))
    assert len(logs) == 9
    denied = [path.name for path in logs if "'fleet_control'@" in path.read_text(encoding="utf-8")]
    assert denied == []


def uses(statement: str, table: str, privilege: str, column: str | None) -> bool:
    """Does this statement need this privilege? For the few forms of statement that the product has."""
    forms = {
        "SELECT": rf"\bSELECT\b.*\b(FROM|JOIN) {table}\b",
        "INSERT": rf"^INSERT INTO {table}\b",
        "DELETE": rf"^DELETE FROM {table}\b",  # noqa: S608 - a pattern, not a statement
        "UPDATE": rf"^UPDATE {table} SET (.*, )?{column} = ",  # noqa: S608
    }
    return re.search(forms[privilege], statement) is not None


@pytest.mark.parametrize(("table", "privilege", "column"), GRANTED)
def test_every_grant_is_used(statements: list[str], table: str, privilege: str, column: str | None) -> None:
    assert any(uses(statement, table, privilege, column) for statement in statements)


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_everything_else_is_denied_on_the_deployed_database(run: Run, statement: str) -> None:
    error = run.evidence("forbidden.json")[statement]
    assert error is not None, "it went through"
    assert "denied" in error


def test_the_tables_outside_the_contract_are_never_named(statements: list[str]) -> None:
    named = {table for statement in statements for table in re.findall(r"\b(?:FROM|JOIN|INTO|UPDATE) (\w+)", statement)}
    assert named > GRANTS.keys()
    assert named & {"tenants", "users", "ai_jobs", "token_wallets", "token_transactions", "files", "videos"} == set()
