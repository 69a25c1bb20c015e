"""The control plane doing its job on this machine: `python -m lab.demo` (under four minutes).

Exit code 0 when every invariant held, 1 when one broke or the story could not be told, 130 after Ctrl-C.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lab.demo", description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("build/demo"), help="directory of this run; emptied first")
    parser.add_argument("--seed", type=int, default=7, help="decides jobs, tenants and the whole second act")
    parser.add_argument("--act", type=int, choices=(1, 2), help="only this act")
    parser.add_argument("--short", action="store_true", help="a burst, an interruption, a sudden death, back to zero")
    parser.add_argument("--svg", type=Path, help="also write the plots as one picture")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        # Imported here, because a second of imports is a second in which Ctrl-C must be clean too.
        from lab.performance import Options, perform  # noqa: PLC0415

        summary = perform(Options(**vars(options)))
    except KeyboardInterrupt:
        print("\nstopped; nothing is left running")
        return 130
    tell_result(summary, options.run)
    return 1 if summary["broken"] else 0


def tell_result(summary: dict[str, Any], run: Path) -> None:
    print("\nResult")
    for name, value in summary.items():
        if name not in ("aws_calls", "latencies", "broken", "aims_missed", "final_desired"):
            print(f"  {name:<38}{value}")
    for sentence in summary["aims_missed"]:
        print(f"  aim missed: {sentence}")
    for sentence in summary["broken"]:
        print(f"  BROKEN: {sentence}")
    print(f"\n  {run / 'summary.json'}\n  {run / 'report.html'}")
    print("  every invariant held" if not summary["broken"] else "  an invariant broke")


def leave(code: int) -> NoReturn:
    """End at once: everything is stopped, and the interpreter would only wait for threads that idle or sleep."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main())
