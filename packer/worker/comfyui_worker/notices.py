"""Who announces the end: EC2 through the metadata service, systemd through a signal.

A rebalance recommendation is not asked for at all: the worker serves on, and the control plane scales the instance in
once its replacement is live.
"""

from __future__ import annotations

import signal
import threading
from datetime import UTC, datetime

from comfyui_worker.ending import Ending
from comfyui_worker.errors import AwayError
from comfyui_worker.log import Log
from comfyui_worker.metadata import Metadata

LONGEST_NOTICE = 120.0
"""EC2 warns two minutes ahead: what a clock that is behind makes of it may be more, and would be too late."""
SPOT, STOPPED = "spot_interruption", "worker_stopped"
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def watch_signals(ending: Ending, grace: float, log: Log) -> None:
    """To be called before any other thread starts: they inherit the mask, so that one thread alone gets the signals."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

    def wait() -> None:
        while True:
            number = signal.sigwait(SIGNALS)
            if ending.announce(grace, STOPPED):
                log.say("stopping", signal=signal.Signals(number).name, seconds=grace)

    threading.Thread(target=wait, name="signals", daemon=True).start()


def watch_spot(metadata: Metadata, ending: Ending, interval: float, log: Log) -> None:
    """Looks every `interval` seconds; silence of the service is said once and changes nothing."""

    def watch() -> None:
        silent = False
        pause = threading.Event()
        while not pause.wait(interval):
            try:
                _look(metadata, ending, log)
                silent = False
            except AwayError as error:
                if not silent:
                    log.say("metadata_silent", error=str(error))
                silent = True

    threading.Thread(target=watch, name="spot-notice", daemon=True).start()


def _look(metadata: Metadata, ending: Ending, log: Log) -> None:
    notice = metadata.spot_notice()
    if notice is None:
        return
    seconds = min(notice.seconds_left(datetime.now(UTC)), LONGEST_NOTICE)
    if ending.announce(seconds, SPOT):
        log.say("spot_notice", action=notice.action, seconds=round(seconds, 1))
