"""Ask something of the world that `make lab` keeps running.

python -m lab.ask jobs image-to-video 5      five jobs, announced as the backend announces them
python -m lab.ask interrupt [instance]       Spot warns the instance (a busy one if none is named) and takes it
python -m lab.ask kill [instance]            it is gone without a word
python -m lab.ask away 10                    the database is away for ten seconds
python -m lab.ask look                       queue, groups, instances
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.control import ask

WORLD = Path("build/lab/lab.json")


def parse(arguments: Sequence[str] | None) -> tuple[str, dict[str, Any]]:
    """The wish and its arguments."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="lab.ask", description=__doc__, formatter_class=form)
    wishes = parser.add_subparsers(dest="wish", required=True)
    jobs = wishes.add_parser("jobs")
    jobs.add_argument("workflow")
    jobs.add_argument("count", type=int, nargs="?", default=1)
    jobs.add_argument("--seconds", type=float, default=4.0, help="of work, each")
    jobs.add_argument("--quiet", action="store_true", help="without JobQueued: the next tick finds them")
    for name in ("interrupt", "kill"):
        wishes.add_parser(name).add_argument("instance", nargs="?", default="")
    wishes.add_parser("away").add_argument("seconds", type=float)
    wishes.add_parser("look")
    found = vars(parser.parse_args(arguments))
    return str(found.pop("wish")), found


def main(arguments: Sequence[str] | None = None) -> int:
    wish, given = parse(arguments)
    try:
        port = int(json.loads(WORLD.read_text(encoding="utf-8"))["control_port"])
        done, text = ask(port, wish, given)
    except OSError:
        print("no world is running here; start one with: make lab", file=sys.stderr)
        return 1
    print(text, file=sys.stdout if done else sys.stderr)
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
