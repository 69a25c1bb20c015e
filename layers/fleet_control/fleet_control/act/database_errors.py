"""From the driver's numbers to our named errors, each with what to check next."""

from __future__ import annotations

import socket
import ssl
import struct

from pymysql import MySQLError
from pymysql.constants import CR, ER

from fleet_control.errors import DatabaseBusy, DatabaseUnavailable, FleetControlError, SchemaNotMigrated

ACCESS_DENIED = ER.ACCESS_DENIED_ERROR
_STATEMENT_TIMEOUT = 1969
_OTHER_HOST = "the server's certificate names another host than the secret"
_CERTIFICATE = {10: "the server's certificate has expired", 62: _OTHER_HOST, 64: _OTHER_HOST}  # OpenSSL's verify codes
_LOST = {CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST, 0, 1927, 4031}
# What the driver makes of a greeting that is none.
GARBLED = (struct.error, LookupError, ValueError, AssertionError)
# A user without any grant on a table is told of the grant before the table, so a missing table looks like both.
_NOT_MIGRATED = {
    ER.NO_SUCH_TABLE,
    ER.BAD_DB_ERROR,
    ER.DBACCESS_DENIED_ERROR,
    ER.TABLEACCESS_DENIED_ERROR,
    ER.COLUMNACCESS_DENIED_ERROR,
    ER.BAD_FIELD_ERROR,
}
_BUSY = {ER.LOCK_WAIT_TIMEOUT, ER.LOCK_DEADLOCK}
_UNAVAILABLE = {
    ACCESS_DENIED: "user or password refused: the secret and the user disagree (run tenant_pool_init), or the user"
    " must use TLS and DB_CA_FILE is empty",
    ER.CON_COUNT_ERROR: "all connections are in use: lower the reserved concurrency or raise max_connections",
    ER.USER_LIMIT_REACHED: "the user's connection limit is reached",
    ER.OPTION_PREVENTS_STATEMENT: "the server is read-only: a fail-over is under way, or the host is a replica",
    ER.SERVER_SHUTDOWN: "the server is shutting down",
    CR.CR_SSL_CONNECTION_ERROR: "the server offers no TLS although DB_CA_FILE is set",
    _STATEMENT_TIMEOUT: "a statement ran into max_statement_time: look for a missing index or a busy server",
}


def is_lost(error: MySQLError) -> bool:
    """Whether the session is gone or out of step, and with it its locks and its transaction."""
    # An error without a number is the driver's own: it no longer understands the stream.
    return not error.args or not isinstance(error.args[0], int) or error.args[0] in _LOST


def named(error: MySQLError) -> FleetControlError | None:
    """None: the statement itself is wrong, which is a defect and keeps the driver's error."""
    code = error.args[0] if error.args else 0
    if code in _NOT_MIGRATED:
        return SchemaNotMigrated(f"schema not migrated, or tenant_pool_init not run since: {error}")
    if code in _BUSY:
        return DatabaseBusy(f"rolled back, may be repeated: {error}")
    if code == CR.CR_CONN_HOST_ERROR:
        return DatabaseUnavailable(f"{_why_no_connection(error)}: {error.args[-1]}")
    if is_lost(error):
        return DatabaseUnavailable(f"the connection was lost: {error}")
    if code in _UNAVAILABLE:
        return DatabaseUnavailable(f"{_UNAVAILABLE[code]}: {error}")
    return None


def _why_no_connection(error: MySQLError) -> str:
    cause = getattr(error, "original_exception", None)
    if isinstance(cause, ssl.SSLCertVerificationError):
        code: int = getattr(cause, "verify_code", 0)
        return _CERTIFICATE.get(code, "the server's certificate is not trusted by DB_CA_FILE")
    if isinstance(cause, ssl.SSLError):
        return "TLS failed"
    if isinstance(cause, socket.gaierror):
        return "the host name of the secret does not resolve"
    if isinstance(cause, TimeoutError):
        return "the host does not answer in time: check security groups and subnets"
    return "the host cannot be reached"
