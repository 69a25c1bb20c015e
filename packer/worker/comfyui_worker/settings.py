"""The worker's settings, read once from the environment that the instance's user data wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
METADATA = "http://169.254.169.254"


class SettingsError(ValueError):
    """A variable is missing or wrong; the text names it and never its value."""


@dataclass(frozen=True)
class Settings:
    """Times in seconds. What has a default is not in the user data; tests and experiments may set it."""

    api_base_url: str
    worker_id: str
    fleet_secret: str = field(repr=False)
    workflow_slugs: tuple[str, ...]
    asg_name: str = ""
    comfyui_base_url: str = "http://127.0.0.1:8188"
    poll_interval: float = 3.0
    heartbeat_interval: float = 30.0
    max_concurrency: int = 1
    metadata_base_url: str = METADATA
    storage_prefix: str = "https://"
    """What a job's addresses begin with. Neither ComfyUI nor the metadata service speaks TLS: no job can ask them."""
    state_directory: Path = Path("/var/lib/comfyui-worker")
    cache_directory: Path = Path("/var/cache/comfyui-worker")
    cache_max_bytes: int = 20_000_000_000
    input_max_bytes: int = 2048 << 20
    """Of the customer's file and of an asset; ComfyUI's unit accepts as much."""
    job_max_bytes: int = 8192 << 20
    """Of all files that a job brings."""
    output_max_bytes: int = 5120 << 20
    """What storage takes at once."""
    notice_interval: float = 5.0
    """Between two looks for a Spot notice."""
    requeue_margin: float = 10.0
    """So long before the end the worker gives its job back itself; the control plane acts earlier."""
    stop_grace: float = 120.0
    """From SIGTERM to the end; the unit's TimeoutStopSec is a little longer."""
    comfyui_patience: float = 120.0
    """ComfyUI may be silent for so long (it restarts, it loads models) before it counts as dead."""
    progress_interval: float = 1.0
    job_timeout: float = 3600.0
    retry_limit: float = 900.0
    """How long the outcome of a job is offered to a backend that is away: the length of a lease."""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Raises SettingsError with the name of the first variable that is missing or wrong."""
        given = {
            name: _value(variable, convert, environment[variable])
            for name, (variable, convert) in VARIABLES.items()
            if environment.get(variable, "").strip()
        }
        missing = [VARIABLES[name][0] for name in REQUIRED if name not in given]
        if missing:
            raise SettingsError(f"{', '.join(missing)} not set")
        return cls(**given)  # type: ignore[arg-type]


def _value(variable: str, convert: Callable[[str], object], text: str) -> object:
    try:
        return convert(text.strip())
    except ValueError as error:
        raise SettingsError(f"{variable}: {error}") from None


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return text.rstrip("/")


def _header(text: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError("must be one line without control characters, as it is sent in a header")
    return text


def _slugs(text: str) -> tuple[str, ...]:
    """Separated by commas or spaces."""
    found = tuple(dict.fromkeys(text.replace(",", " ").split()))
    if not found:
        raise ValueError("names no workflow")
    return found


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise ValueError("must be a number of seconds above zero")
    return seconds


def _one(text: str) -> int:
    """ComfyUI renders one prompt at a time, and the control plane trusts that a worker has one poll under way."""
    if text != "1":
        raise ValueError("must be 1: a worker does one job at a time")
    return 1


def _bytes(text: str) -> int:
    if not text.isdigit():
        raise ValueError("must be a whole number of bytes")
    return int(text)


REQUIRED = ("api_base_url", "worker_id", "fleet_secret", "workflow_slugs")
VARIABLES: dict[str, tuple[str, Callable[[str], object]]] = {
    "api_base_url": ("API_BASE_URL", _url),
    "worker_id": ("WORKER_ID", str),
    "fleet_secret": ("FLEET_SECRET", _header),
    "workflow_slugs": ("WORKFLOW_SLUGS", _slugs),
    "asg_name": ("ASG_NAME", str),
    "comfyui_base_url": ("COMFYUI_BASE_URL", _url),
    "poll_interval": ("POLL_INTERVAL_SECONDS", _seconds),
    "heartbeat_interval": ("HEARTBEAT_INTERVAL_SECONDS", _seconds),
    "max_concurrency": ("MAX_CONCURRENCY", _one),
    "metadata_base_url": ("METADATA_BASE_URL", _url),
    "storage_prefix": ("STORAGE_PREFIX", str),
    "state_directory": ("STATE_DIRECTORY", Path),
    "cache_directory": ("CACHE_DIRECTORY", Path),
    "cache_max_bytes": ("CACHE_MAX_BYTES", _bytes),
    "input_max_bytes": ("INPUT_MAX_BYTES", _bytes),
    "job_max_bytes": ("JOB_MAX_BYTES", _bytes),
    "output_max_bytes": ("OUTPUT_MAX_BYTES", _bytes),
    "notice_interval": ("NOTICE_INTERVAL_SECONDS", _seconds),
    "requeue_margin": ("REQUEUE_MARGIN_SECONDS", _seconds),
    "stop_grace": ("STOP_GRACE_SECONDS", _seconds),
    "comfyui_patience": ("COMFYUI_PATIENCE_SECONDS", _seconds),
    "progress_interval": ("PROGRESS_INTERVAL_SECONDS", _seconds),
    "job_timeout": ("JOB_TIMEOUT_SECONDS", _seconds),
    "retry_limit": ("RETRY_LIMIT_SECONDS", _seconds),
}
