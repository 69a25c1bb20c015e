"""The launch template's user data, run for real: only AWS, the metadata service, ComfyUI and systemd are stand-ins."""

from __future__ import annotations

import shlex
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.template.conftest import resolved

from .stubs import Desk

INSTANCE = "i-0123456789abcdef0"
UNHEALTHY = f"--instance-id {INSTANCE} --health-status Unhealthy"
CURL = f"""case "$*" in
  *api/token*) echo session ;;
  *instance-id*) [[ "$*" == *"X-aws-ec2-metadata-token: session"* ]] && echo {INSTANCE} ;;
  *system_stats*) {{comfyui}} ;;
  *) exit 9 ;;
esac"""
AWS = 'case "$*" in ssm*) {secret} ;; autoscaling*) {health} ;; *) exit 9 ;; esac'


@pytest.fixture(scope="module")
def script() -> str:
    fleet = resolved()["Fleetimagetovideo"]["FleetLaunchTemplate"]["Properties"]["LaunchTemplateData"]
    return str(fleet["UserData"])


@dataclass(frozen=True)
class Boot:
    code: int
    output: str
    calls: list[str]
    environment: Path

    def variables(self) -> dict[str, str]:
        """As a shell reads the file; systemd's rules for what is in double quotes are the same."""
        read = f"set -a; . {self.environment}; env -0"
        text = subprocess.run(["/bin/bash", "-c", read], env={}, capture_output=True, text=True, check=True).stdout
        return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)

    @property
    def worker_was_started(self) -> bool:
        return "systemctl start comfyui-worker.service" in self.calls


def boot(
    script: str,
    place: Path,
    *,
    secret: str = "plain",  # noqa: S107 - a sample
    fetch: str | None = None,
    comfyui: str = "true",
    health: str = "true",
    metadata: str = CURL,
    warmup: str = "300",
) -> Boot:
    """Boots with this secret, or this piece of bash in the place of Parameter Store."""
    desk = Desk(place / "bin")
    desk.command("curl", metadata.replace("{comfyui}", comfyui))
    desk.command(
        "aws", AWS.replace("{secret}", fetch or f"printf '%s\\n' {shlex.quote(secret)}").replace("{health}", health)
    )
    for name in ("systemctl", "sleep"):
        desk.command(name)
    desk.command("logger", "cat > /dev/null")
    script = script.replace("/opt/worker", str(place / "opt")).replace("/etc/gpu-worker", str(place / "etc"))
    (place / "user-data").write_text(script.replace("timeout 300", f"timeout {warmup}"))
    done = desk.run("/bin/bash", place / "user-data")
    return Boot(done.returncode, done.stdout + done.stderr, desk.calls, place / "opt/env")


def test_a_good_boot_starts_the_worker_last(script: str, tmp_path: Path) -> None:
    good = boot(script, tmp_path)
    assert good.code == 0, good.output
    assert good.calls[-1] == "systemctl start comfyui-worker.service"
    assert not any("set-instance-health" in call for call in good.calls)


def test_logs_are_shipped_before_anything_can_fail(script: str, tmp_path: Path) -> None:
    bad = boot(script, tmp_path, fetch="exit 254")
    assert (tmp_path / "etc/log-group").read_text() == "/gpu-workers/staging/image-to-video\n"
    assert "systemctl start --no-block gpu-worker-logs.service" in bad.calls


@pytest.mark.parametrize(
    "secret",
    [
        "plain",
        "two words and a # mark",
        "double \" and single ' quotes",
        "dollar $HOME ${HOME} $(reboot) and `reboot`",
        "back\\slash \\n \\\\ at the end\\",
        "first line\nsecond line\n\nWORKER_ID=another",
        "ENV",
        "a line\nENV\nsystemctl poweroff",
    ],
)
def test_a_secret_is_what_it_is_whatever_is_in_it(script: str, tmp_path: Path, secret: str) -> None:
    good = boot(script, tmp_path, secret=secret)
    assert good.code == 0, good.output
    variables = good.variables()
    assert variables["FLEET_SECRET"] == secret
    assert variables["WORKER_ID"] == INSTANCE
    assert "systemctl poweroff" not in good.calls


def test_the_environment_is_for_root_alone(script: str, tmp_path: Path) -> None:
    assert stat.S_IMODE(boot(script, tmp_path).environment.stat().st_mode) == 0o600


def test_the_secret_is_neither_printed_nor_an_argument(script: str, tmp_path: Path) -> None:
    good = boot(script, tmp_path, secret="xyzzy")
    assert "xyzzy" not in good.output
    assert not any("xyzzy" in call for call in good.calls)


def test_comfyui_may_take_its_time(script: str, tmp_path: Path) -> None:
    count = tmp_path / "asked"
    slow = boot(script, tmp_path, comfyui=f"echo >> {count}; [ $(wc -l < {count}) -ge 5 ]")
    assert slow.code == 0, slow.output
    assert slow.worker_was_started


FAILURES = {
    "no such parameter": ({"fetch": "echo ParameterNotFound >&2; exit 254"}, "reading the fleet secret"),
    "an empty parameter": ({"secret": ""}, "reading the fleet secret"),
    "ComfyUI too slow": ({"comfyui": "false", "warmup": "0.5"}, "waiting for ComfyUI"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failed_boot_says_where_and_has_the_instance_replaced(script: str, tmp_path: Path, name: str) -> None:
    arguments, words = FAILURES[name]
    bad = boot(script, tmp_path, **arguments)
    assert bad.code != 0
    assert f"user data failed while {words}" in bad.output
    [health] = [call for call in bad.calls if "set-instance-health" in call]
    assert UNHEALTHY in health
    assert not bad.worker_was_started


@pytest.mark.parametrize(
    "arguments",
    [{"metadata": "exit 7"}, {"fetch": "exit 254", "health": "exit 254"}],
    ids=["no metadata", "not allowed"],
)
def test_what_cannot_report_itself_goes_down(script: str, tmp_path: Path, arguments: dict[str, str]) -> None:
    if "metadata" in arguments:
        arguments |= {"health": "exit 254"}
    bad = boot(script, tmp_path, **arguments)
    assert bad.code != 0
    assert "systemctl poweroff" in bad.calls
    assert not bad.worker_was_started
