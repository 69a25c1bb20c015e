import subprocess
import sys
from pathlib import Path

import pytest
from comfyui_worker.settings import Settings, SettingsError

GIVEN = {  # as the launch template's user data writes it
    "API_BASE_URL": "https://api.example/",
    "WORKER_ID": "i-0123456789abcdef0",
    "FLEET_SECRET": "a secret",
    "WORKFLOW_SLUGS": "image-to-video,face-swap",
    "ASG_NAME": "asg-staging-image-to-video",
    "COMFYUI_BASE_URL": "http://127.0.0.1:8188",
    "POLL_INTERVAL_SECONDS": "3",
    "HEARTBEAT_INTERVAL_SECONDS": "30",
    "MAX_CONCURRENCY": "1",
}
ROOT = Path(__file__).parents[2]


def test_what_user_data_writes_is_what_the_worker_reads() -> None:
    settings = Settings.read(GIVEN)
    assert settings.api_base_url == "https://api.example"
    assert settings.workflow_slugs == ("image-to-video", "face-swap")
    assert (settings.poll_interval, settings.heartbeat_interval) == (3.0, 30.0)
    written = {line.strip().partition("=")[0] for line in (ROOT / "stacks/gpu-fleet.yaml").read_text().splitlines()}
    assert written >= set(GIVEN)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_BASE_URL", "api.example"),
        ("WORKFLOW_SLUGS", " , "),
        ("POLL_INTERVAL_SECONDS", "soon"),
        ("HEARTBEAT_INTERVAL_SECONDS", "0"),
        ("MAX_CONCURRENCY", "2"),
        ("CACHE_MAX_BYTES", "20GB"),
        ("FLEET_SECRET", ""),
        ("FLEET_SECRET", "two\nlines"),
        ("WORKER_ID", "  "),
    ],
)
def test_a_wrong_variable_is_named_and_its_value_is_not_shown(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        Settings.read(GIVEN | {name: value})
    assert not value.strip(" ,") or value not in str(caught.value).replace(name, "")


def test_a_secret_is_not_in_what_can_be_printed() -> None:
    assert "a secret" not in repr(Settings.read(GIVEN))


def test_the_process_says_what_is_missing_and_is_not_restarted() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "comfyui_worker"],
        env={"PYTHONPATH": str(ROOT / "packer" / "worker")},
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert ran.returncode == 78
    assert "API_BASE_URL" in ran.stdout
    assert "Traceback" not in ran.stderr
