"""The backend's images: Dockerfiles by their linter, and nginx with php-fpm as the distribution has them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from .backend import DOCKER, Site, get, nginx, php_fpm, prepare, running

DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
HADOLINT = Path(sys.executable).parent / "hadolint"


@pytest.fixture(scope="module")
def installed() -> None:
    if nginx() is None or php_fpm() is None:
        pytest.skip("nginx or php-fpm is not installed (Debian: nginx-light php-fpm)")


@pytest.fixture(scope="module")
def site(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(prepare(tmp_path_factory.mktemp("backend"))) as up:
        yield up


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    done = subprocess.run([HADOLINT, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_the_builder_decides_the_architecture(path: Path) -> None:
    text = path.read_text()
    assert "--platform" not in text.replace("# The architecture is the builder's", "")
    assert not re.search(r"amd64|x86_64|arm64|aarch64", re.sub(r"^#.*$", "", text, flags=re.MULTILINE))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_every_base_has_its_version(path: Path) -> None:
    bases = re.findall(r"^FROM (\S+)", path.read_text(), re.MULTILINE)
    assert bases
    assert [base for base in bases if not re.search(r":\d", base)] == []


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_every_file_that_is_copied_is_there(path: Path) -> None:
    copied = re.findall(r"^COPY (?!--from)(\S+) ", path.read_text(), re.MULTILINE)
    assert copied
    assert [name for name in copied if not (DOCKER / name).exists()] == []


def test_php_is_the_version_that_the_backend_runs_on() -> None:
    bases = re.findall(r"^FROM (php\S+)", (DOCKER / "php.Dockerfile").read_text(), re.MULTILINE)
    assert {base.split("-")[0] for base in bases} == {"php:8.3"}


def test_static_files_are_in_the_image_that_serves_them() -> None:
    assert "COPY --from=application public /var/www/html/public" in (DOCKER / "nginx.Dockerfile").read_text()


def test_health_is_asked_for_at_an_address_and_not_at_a_name() -> None:
    for path in DOCKER.iterdir():
        text = re.sub(r"^#.*$", "", path.read_text(), flags=re.MULTILINE)
        assert "localhost" not in text, path.name


def test_php_fpm_listens_on_this_machine_only() -> None:
    assert re.findall(r"^listen = (.*)$", (DOCKER / "php-fpm.conf").read_text(), re.MULTILINE) == ["127.0.0.1:9000"]


def test_php_containers_are_not_root() -> None:
    assert re.findall(r"^USER (.*)$", (DOCKER / "php.Dockerfile").read_text(), re.MULTILINE) == ["33:33"]


def test_entrypoint_runs_under_the_shell_that_the_image_has(tmp_path: Path) -> None:
    """dash, in a folder without anything that Laravel needs; the command comes last and takes the process over."""
    script = (DOCKER / "entrypoint.sh").read_text().replace("/var/www/html", str(tmp_path))
    (tmp_path / "entrypoint").write_text(script)
    (tmp_path / "php").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "php").chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", tmp_path / "entrypoint", "echo", "the command"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "the command"
    folders = (
        "storage/framework/views",
        "storage/framework/sessions",
        "storage/framework/cache/data",
        "bootstrap/cache",
    )
    assert all((tmp_path / name).is_dir() for name in folders)


def test_nginx_accepts_its_configuration(installed: None, tmp_path: Path) -> None:
    checked = subprocess.run(
        [str(nginx()), "-t", "-c", prepare(tmp_path).nginx_configuration()], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr


def test_up_is_answered_by_php(site: Site) -> None:
    answer = get(site, "/up")
    assert answer.status_code == 200
    assert answer.json()["uri"] == "/up"


def test_a_static_file_is_served_without_php(site: Site) -> None:
    answer = get(site, "/build/app.css")
    assert answer.text == "body { margin: 0 }\n"
    assert answer.headers["Content-Type"].startswith("text/css")


def test_every_other_address_is_the_applications(site: Site) -> None:
    answer = get(site, "/api/worker/poll?x=1")
    assert answer.json()["uri"] == "/api/worker/poll?x=1"


@pytest.mark.parametrize("path", ["/shell.php", "/.env", "/build/../.env", "/nothing.php"])
def test_no_other_script_is_run_and_no_hidden_file_shown(site: Site, path: str) -> None:
    answer = get(site, path)
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_https_at_the_load_balancer_is_https_to_the_application(site: Site) -> None:
    assert get(site, "/up", X_Forwarded_Proto="https").json()["https"] == "on"
    assert get(site, "/up", X_Forwarded_Proto="http").json()["https"] == ""


def test_the_client_is_who_the_load_balancer_says(site: Site) -> None:
    """Registrations are limited by source address: behind one proxy all workers would share one."""
    assert get(site, "/up", X_Forwarded_For="203.0.113.7").json()["client"] == "203.0.113.7"


def test_a_header_does_not_become_a_proxy(site: Site) -> None:
    assert get(site, "/up", Proxy="http://attacker.example").json()["proxy"] in (False, "")


def test_an_upload_arrives_whole(site: Site) -> None:
    size = 20_000_000
    answer = requests.post(site.url + "/api/upload", data=b"x" * size, timeout=60)
    assert answer.json()["body"] == size


def test_versions_are_not_told(site: Site) -> None:
    headers = get(site, "/up").headers
    assert headers["Server"] == "nginx"
    assert "X-Powered-By" not in headers
