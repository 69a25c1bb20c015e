"""nginx and php-fpm of the distribution with the images' own configuration, on free ports and a small application."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from .hcl import ROOT

DOCKER = ROOT / "docker/backend"
APPLICATION = """<?php
header('Content-Type: application/json');
echo json_encode(['uri' => $_SERVER['REQUEST_URI'], 'https' => $_SERVER['HTTPS'] ?? '', 'proxy' => getenv('HTTP_PROXY'),
  'client' => $_SERVER['REMOTE_ADDR'], 'method' => $_SERVER['REQUEST_METHOD'], 'body' => strlen(file_get_contents('php://input'))]);
"""


def nginx() -> str | None:
    return shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")


def php_fpm() -> str | None:
    found = sorted(Path("/usr/sbin").glob("php-fpm*"))
    return str(found[-1]) if found else None


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class Site:
    """The images' configuration with other ports and folders, and nothing else changed."""

    place: Path
    port: int
    fpm_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def html(self) -> Path:
        return self.place / "html"

    def _changed(self, name: str, changes: dict[str, str]) -> Path:
        text = (DOCKER / name).read_text()
        for old, new in changes.items():
            if old not in text:
                raise LookupError(f"{name} has no {old!r}")
            text = text.replace(old, new)
        (self.place / name).write_text(text)
        return self.place / name

    def nginx_configuration(self) -> Path:
        changes = {"listen 80 ": f"listen 127.0.0.1:{self.port} ", "127.0.0.1:9000": f"127.0.0.1:{self.fpm_port}"}
        temporary = {"/tmp/": f"{self.place}/"}  # noqa: S108 - first: other places may lie below it
        folders = {"/var/www/html": str(self.html), "user nginx;": "user root;"}
        logs = {"/dev/stderr": f"{self.place}/error.log", "/dev/stdout": f"{self.place}/access.log"}
        trusted = {"10.0.0.0/16": "127.0.0.1/32"}
        return self._changed("nginx.conf", temporary | changes | folders | logs | trusted)

    def fpm_configuration(self) -> Path:
        logs = {"/proc/self/fd/2": f"{self.place}/fpm.log"}
        as_root = {"[www]\n": "[www]\nuser = root\ngroup = root\n"} if os.geteuid() == 0 else {}
        return self._changed("php-fpm.conf", {"127.0.0.1:9000": f"127.0.0.1:{self.fpm_port}"} | logs | as_root)


def prepare(place: Path) -> Site:
    public = place / "html/public"
    (public / "build").mkdir(parents=True)
    (public / "index.php").write_text(APPLICATION)
    (public / "shell.php").write_text("<?php echo 'run';")
    (public / ".env").write_text("APP_KEY=secret")
    (public / "build/app.css").write_text("body { margin: 0 }\n")
    return Site(place, free_port(), free_port())


@contextmanager
def running(site: Site) -> Iterator[Site]:
    """Both programs in the foreground, ended by id."""
    fpm = [
        str(php_fpm()),
        "--nodaemonize",
        "--fpm-config",
        str(site.fpm_configuration()),
        "-c",
        str(DOCKER / "php.ini"),
    ]
    commands = [
        fpm + (["--allow-to-run-as-root"] if os.geteuid() == 0 else []),
        [str(nginx()), "-c", str(site.nginx_configuration()), "-g", "daemon off;"],
    ]
    processes = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for command in commands]
    try:
        wait_until_open(site.fpm_port, processes[0])
        wait_until_open(site.port, processes[1])
        yield site
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)


def wait_until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    """Raises RuntimeError if the process ends before it listens."""
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}")


def get(site: Site, path: str, **headers: str) -> requests.Response:
    return requests.get(
        site.url + path, headers={name.replace("_", "-"): value for name, value in headers.items()}, timeout=20
    )
