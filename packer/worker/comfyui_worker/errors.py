"""What can go wrong, by what has to follow from it."""

from __future__ import annotations


class AwayError(Exception):
    """No usable answer (network, time-out, 5xx): ask again later."""


class ComfyUiAwayError(AwayError):
    """ComfyUI does not answer; it may be on its way back."""


class StorageAwayError(AwayError):
    """The storage behind a pre-signed URL does not answer, or not to the end."""


class RefusedError(Exception):
    """The backend said no; `status` is its HTTP code. Asking the same again changes nothing, 429 apart."""

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status} {message}")
        self.status = status
        self.retry_after = retry_after


class JobFailedError(Exception):
    """The job cannot be done, here or elsewhere; the text is shown to people and names no URL and no path."""


class LeaseLostError(Exception):
    """The job is no longer ours: stop it and throw the result away."""


class ComfyUiDeadError(Exception):
    """ComfyUI is beyond repair on this machine: its job goes back, the process ends, the instance is replaced."""


class GiveUpError(Exception):
    """This instance cannot serve, and a restart would not help."""
