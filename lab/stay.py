"""The demo's world, kept running until Ctrl-C: `python -m lab.stay` (`make lab`).

Nothing happens by itself but the control loop; `python -m lab.ask` submits jobs and interrupts instances.
"""

import shutil
import signal
import sys
import threading
from pathlib import Path

RUN = Path("build/lab")
PORT = 5599
"""Of the AWS endpoint: `events/local-env.json` names it."""


def main() -> int:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    # Imported here, because a second of imports is a second in which Ctrl-C must be clean too.
    from lab.visit import Visit, welcome  # noqa: PLC0415

    shutil.rmtree(RUN, ignore_errors=True)
    print("Setting up: a database, an AWS account, the deployed control plane ...", flush=True)
    with Visit(RUN, PORT) as visit:
        print(welcome(visit), flush=True)
        visit.narrate()
        stop.wait()
    print("\nstopped; nothing is left running")
    return 0


if __name__ == "__main__":
    sys.exit(main())
