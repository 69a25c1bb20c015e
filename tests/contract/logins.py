"""Sessions of the control plane's user, right or wrong in one respect."""

from fleet_control.act.database import Database
from fleet_control.act.secrets import DatabaseLogin
from fleet_control.act.tenants import USER

from lab.mariadb import CENTRAL, MariaDb

from .conftest import PASSWORD


def login_to(server: MariaDb, **changes: object) -> DatabaseLogin:
    fields = {"host": server.host, "port": server.port, "username": USER, "password": PASSWORD}
    return DatabaseLogin.model_validate(fields | changes)


def session(server: MariaDb, ca_file: str | None = None, database: str = CENTRAL, **changes: object) -> Database:
    login = login_to(server, **changes)
    return Database(
        lambda *, fresh: login, database=database, ca_file=str(server.ca_file if ca_file is None else ca_file)
    )
