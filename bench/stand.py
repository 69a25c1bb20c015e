"""The test stand: a private server with the product's own database user, the prepared cloud, probes as processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from fleet_control.act.database import Database
from fleet_control.act.secrets import DatabaseLogin
from fleet_control.act.tenants import USER, TenantDatabases

from bench.cloud import Cloud
from bench.data import Data
from bench.product import ROOT, environment
from bench.scale import Scale
from lab.mariadb import CENTRAL, MariaDb, session_server

PASSWORD = "bench"  # noqa: S105 - of a server that lives as long as the benchmark, on this machine only
FUNCTIONS = {"tick": "reconcile", "publish": "publish_metrics"}
PROBE_SECONDS = 300


class Stand:
    """Loaded with one scale at a time."""

    def __init__(self, server: MariaDb, data: Data, cloud: Cloud) -> None:
        self._server = server
        self._cloud = cloud
        self.data = data

    def load(self, scale: Scale) -> None:
        """Everything anew, the history too."""
        self.data.load(scale)
        self._cloud.show(scale)

    def exchange(self, scale: Scale) -> None:
        """Another live part on the same history."""
        self.data.put_live(scale)
        self._cloud.show(scale)

    def environment(self) -> dict[str, str]:
        """What a function is told of this stand."""
        return environment(self._cloud.url, self._server.ca_file)

    def probe(self, what: str, *, runs: int, compare: int = 0) -> dict[str, Any]:
        """`what` is tick or publish. Raises RuntimeError with the end of the probe's output."""
        order = {"function": FUNCTIONS[what], "runs": runs, "compare": compare, "root": self._root()}
        done = subprocess.run(
            [sys.executable, "-m", "bench.probe", json.dumps(order)],
            env=self.environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=PROBE_SECONDS,
        )
        if done.returncode:
            raise RuntimeError(f"{what}: {done.stderr[-2000:] or done.stdout[-2000:]}")
        *logs, answer = done.stdout.splitlines()
        figures: dict[str, Any] = json.loads(answer)
        calls = 2 + runs + compare
        return figures | {"log_bytes": sum(len(line) + 1 for line in logs) / calls}

    def _root(self) -> dict[str, Any]:
        server = self._server
        return {
            "host": server.host,
            "port": server.port,
            "user": server.root.username,
            "password": server.root.password,
            "ssl_ca": str(server.ca_file),
        }


@contextmanager
def stand(directory: Path, scale: Scale) -> Iterator[Stand]:
    """Running, with empty tables; stopped and gone at the end."""
    with session_server(directory) as server:
        _grant(server)
        data = Data(server)
        data.prepare()
        ours = {"host": server.host, "port": server.port, "username": USER, "password": PASSWORD}
        secrets = {"fleet-control": json.dumps(ours), "master-credentials": json.dumps(server.master_secret())}
        with Cloud(scale, secrets) as cloud:
            yield Stand(server, data, cloud)


def _grant(server: MariaDb) -> None:
    """The user and grants of a deployment, made by the product itself."""
    login = DatabaseLogin.model_validate(server.master_secret())

    def known(*, fresh: bool) -> DatabaseLogin:  # noqa: ARG001 - it never changes
        return login

    with closing(Database(known, database=None, ca_file=str(server.ca_file))) as master:
        tenants = TenantDatabases(master)
        tenants.set_user(PASSWORD)
        if missing := tenants.grant(CENTRAL):
            raise RuntimeError(f"not granted: {missing}")
