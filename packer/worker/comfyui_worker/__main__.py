"""`python -m comfyui_worker`: serve until the end is announced. `--self-test`: check this installation and exit.

Exit codes: 0 after an orderly end, 1 when a restart may help (ComfyUI is dead, the disk is full), 78 when it will not
(settings, a refused registration): systemd restarts on 1 only, and the control plane replaces the silent instance.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from comfyui_worker import selftest
from comfyui_worker.ending import Ending
from comfyui_worker.errors import ComfyUiDeadError, GiveUpError
from comfyui_worker.log import Log
from comfyui_worker.loop import Worker
from comfyui_worker.metadata import Metadata
from comfyui_worker.notices import watch_signals, watch_spot
from comfyui_worker.settings import Settings, SettingsError

TROUBLE, NO_USE = 1, 78


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="comfyui_worker", description=__doc__)
    parser.add_argument("--self-test", action="store_true", help="check this installation and exit")
    if parser.parse_args(arguments).self_test:
        return 0 if selftest.run() else TROUBLE
    log = Log(os.environ.get("WORKER_ID", ""))
    try:
        serve(Settings.read(os.environ), log)
    except (SettingsError, GiveUpError) as hopeless:
        log.say("gave_up", error=str(hopeless))
        return NO_USE
    except (ComfyUiDeadError, OSError) as trouble:
        log.say("broken", error=f"{type(trouble).__name__}: {trouble}")
        return TROUBLE
    return 0


def serve(settings: Settings, log: Log) -> None:
    ending = Ending()
    watch_signals(ending, settings.stop_grace, log)
    watch_spot(Metadata(settings.metadata_base_url), ending, settings.notice_interval, log)
    log.say("started", fleet=settings.asg_name)
    Worker(settings, ending, log).run()


if __name__ == "__main__":
    sys.exit(main())
