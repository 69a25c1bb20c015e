"""The way in for `sam local invoke`: a container knows neither the lab's certificate authority nor its files.

It gets a database user of its own, with exactly the grants of `fleet_control` but without `REQUIRE SSL`, whose login
lies in the secret that `events/local-env.json` names. An empty DB_CA_FILE means no TLS: for local use only.
"""

from __future__ import annotations

import json

from lab.secrecy import marked
from lab.world import World

USER = "sam_local"
SECRET = "/lab/rds/fleet-control"  # noqa: S105 - its name
OWN = "fleet_control"


def open_door(world: World) -> None:
    """Make the user and its secret; the world is deployed and its schema is there."""
    password = marked()
    with world.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE USER {USER}@'%%' IDENTIFIED BY %s", (password,))
        cursor.execute(f"SHOW GRANTS FOR {OWN}@'%'")
        for row in cursor.fetchall():
            grant = str(next(iter(row.values())))
            if not grant.startswith("GRANT USAGE"):  # the login itself, with its password and REQUIRE SSL
                cursor.execute(grant.replace(f"`{OWN}`", f"`{USER}`", 1).replace("%", "%%"), ())
    login = {**world.database.master_secret(), "username": USER, "password": password}
    world.cloud.client("secretsmanager").create_secret(Name=SECRET, SecretString=json.dumps(login))
