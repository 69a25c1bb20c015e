"""The driver's errors, by what an operator or the next look can make of them."""

import socket
import ssl

import pytest
from fleet_control.act.database_errors import is_lost, named
from fleet_control.errors import DatabaseBusy, DatabaseUnavailable, FleetControlError, SchemaNotMigrated
from pymysql import err

CASES: list[tuple[str, err.MySQLError, type[FleetControlError] | None]] = [
    ("no such table", err.ProgrammingError(1146, "no table"), SchemaNotMigrated),
    ("no such database", err.OperationalError(1049, "no database"), SchemaNotMigrated),
    ("no grant on the database yet", err.OperationalError(1044, "denied"), SchemaNotMigrated),
    ("no grant on the table yet", err.OperationalError(1142, "denied"), SchemaNotMigrated),
    ("an older table", err.OperationalError(1054, "no column"), SchemaNotMigrated),
    ("row lock", err.OperationalError(1205, "lock wait"), DatabaseBusy),
    ("deadlock", err.OperationalError(1213, "deadlock"), DatabaseBusy),
    ("wrong password", err.OperationalError(1045, "denied"), DatabaseUnavailable),
    ("all connections in use", err.OperationalError(1040, "too many"), DatabaseUnavailable),
    ("fail-over", err.OperationalError(1290, "read-only"), DatabaseUnavailable),
    ("slow statement", err.OperationalError(1969, "max_statement_time"), DatabaseUnavailable),
    ("gone", err.OperationalError(2006, "gone"), DatabaseUnavailable),
    ("lost in a statement", err.OperationalError(2013, "lost"), DatabaseUnavailable),
    ("closed under our hands", err.InterfaceError(0, ""), DatabaseUnavailable),
    ("out of step", err.InternalError("Packet sequence number wrong - got 3 expected 1"), DatabaseUnavailable),
    ("no TLS on the server", err.OperationalError(2026, "no ssl"), DatabaseUnavailable),
    ("a wrong statement is a defect", err.ProgrammingError(1064, "syntax"), None),
    ("a duplicate is a defect", err.IntegrityError(1062, "duplicate"), None),
]


@pytest.mark.parametrize(("name", "error", "expected"), CASES, ids=[name for name, _, _ in CASES])
def test_errors_are_named_by_what_they_mean(
    name: str, error: err.MySQLError, expected: type[FleetControlError] | None
) -> None:
    found = named(error)
    assert (type(found) if found else None) is expected


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (ssl.SSLCertVerificationError("self-signed"), "not trusted by DB_CA_FILE"),
        (ssl.SSLError("handshake"), "TLS failed"),
        (socket.gaierror("unknown"), "does not resolve"),
        (TimeoutError("timed out"), "security groups"),
        (ConnectionRefusedError("refused"), "cannot be reached"),
    ],
)
def test_a_host_that_cannot_be_reached_says_why(cause: OSError, text: str) -> None:
    error = err.OperationalError(2003, "Can't connect")
    error.original_exception = cause  # type: ignore[attr-defined]
    assert text in str(named(error))


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (err.OperationalError(2013, "lost"), True),
        (err.InterfaceError(0, ""), True),
        (err.InternalError("Packet sequence number wrong"), True),
        (err.OperationalError(1205, "lock wait"), False),
        (err.ProgrammingError(1064, "syntax"), False),
    ],
)
def test_a_session_is_given_up_only_when_it_is_gone_or_out_of_step(error: err.MySQLError, lost: bool) -> None:
    assert is_lost(error) is lost
