"""`make bench`: measure, print, and leave the figures in build/bench/results.json."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import cold_start, report
from bench.cost import monthly, plant
from bench.figures import Figures, grown, summary
from bench.product import ROOT
from bench.scale import BASE, CALM, DEPLOYED, Scale
from bench.stand import FUNCTIONS, Stand, stand

RUNS, PAIRS, GROWTH_RUNS = 9, 3, 5
BEGAN = time.monotonic()


def say(text: str) -> None:
    print(f"[{time.monotonic() - BEGAN:5.0f} s] {text}", flush=True)  # noqa: T201


def main(directory: Path, history: int) -> Figures:
    """`history` is the number of finished dispatches of the large case; the small one has a tenth."""
    base = replace(BASE, old=history - BASE.recent - BASE.live)
    directory.mkdir(parents=True, exist_ok=True)
    with stand(directory / "mariadb", base) as bench:
        small = replace(base, old=base.old // 10)
        say(f"loading {_words(small)}: a tenth of the history")
        bench.load(small)
        short = {what: summary(bench.probe(what, runs=GROWTH_RUNS)) for what in FUNCTIONS}
        say(f"loading {_words(base)}")
        bench.load(base)
        results = measured(bench)
        results["growth"] = {"history": _growth(short, results)} | growth(bench, base, results)
        results |= deployed(bench)
    results |= cold(directory / "lambda")
    return (
        {"measured_at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
        | results
        | {"scale": asdict(base) | {"dispatches": base.dispatches}}
    )


def measured(bench: Stand) -> Figures:
    results: Figures = {}
    for what in FUNCTIONS:
        say(f"one {what}, {RUNS} times, and {PAIRS} times beside the straightforward way")
        results[what] = summary(bench.probe(what, runs=RUNS, compare=PAIRS))
    return results


def growth(bench: Stand, base: Scale, results: Figures) -> Figures:
    """Ten times as much on one axis at a time, on the same history."""
    axes = {
        "live": replace(base, live=10 * base.live),
        "workers": replace(base, workers=10 * base.workers),
        "fleets": replace(base, fleets=10 * base.fleets),
    }
    found: Figures = {}
    for axis, scale in axes.items():
        say(f"ten times the {axis}: {_words(scale)}")
        bench.exchange(scale)
        after = {what: summary(bench.probe(what, runs=GROWTH_RUNS)) for what in FUNCTIONS}
        found[axis] = _growth(results, after)
    return found


def _growth(before: Figures, after: Figures) -> Figures:
    return {what: grown(before[what], after[what]) for what in FUNCTIONS}


def long_history(directory: Path, base: Scale) -> Figures:
    """Ten times the history of the large case, which alone takes as long as everything else."""
    with stand(directory / "mariadb", base) as bench:
        found = []
        for scale in (base, replace(base, old=10 * base.old)):
            say(f"loading {_words(scale)}")
            bench.load(scale)
            found.append({what: summary(bench.probe(what, runs=GROWTH_RUNS)) for what in FUNCTIONS})
    return {"growth": {"long history": _growth(*found)}}


def deployed(bench: Stand) -> Figures:
    """Cost at the size that the template deploys: where something boots all day, and where nothing does."""
    say(f"as deployed, fully loaded: {_words(DEPLOYED)}")
    small, costs = _month(bench, DEPLOYED)
    calm, least = _month(bench, CALM)
    return {
        "deployed": small,
        "monthly": costs,
        "monthly_usd": costs["total"],
        "calm": calm,
        "monthly_calm_usd": least["total"],
    }


def _month(bench: Stand, scale: Scale) -> tuple[Figures, Figures]:
    bench.exchange(scale)
    found = {what: summary(bench.probe(what, runs=RUNS)) for what in FUNCTIONS}
    return found, monthly(found["tick"], found["publish"], plant())


def cold(directory: Path) -> Figures:
    say("cold starts of the built functions")
    found = cold_start.measure(directory)
    return {
        "cold_start_ratio": found.ratios,
        "cold_start_s": found.seconds,
        "cold_start_absent": found.absent,
    }


def machine() -> dict[str, Any]:
    return {"cores": os.cpu_count(), "arch": platform.machine(), "python": platform.python_version()}


def _words(scale: Scale) -> str:
    return f"{scale.fleets:,} fleets, {scale.workers:,} workers, {scale.dispatches:,} dispatches, {scale.live:,} live"


def show(results: Figures) -> None:
    parts = [report.table(results), report.growth(results), report.money(results)]
    ratios = results["cold_start_ratio"]
    cold = ", ".join(f"{name} {ratio}" for name, ratio in ratios.items()) or results["cold_start_absent"]
    parts.append(f"cold start, times that of boto3 with one client: {cold}")
    parts.append("missed: " + ("; ".join(report.missed(results)) or "nothing"))
    print("", "\n\n".join(parts), sep="\n")  # noqa: T201


def told(results: Figures, path: Path) -> None:
    """Keep them, show them."""
    path.write_text(json.dumps(results, indent=2) + "\n")
    show(results)
    say(f"figures in {path.relative_to(ROOT)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--history", type=int, default=BASE.dispatches, help="dispatches in all (default 1,000,000)")
    parser.add_argument("--long", action="store_true", help="only add ten times this history to the figures there are")
    folder, given = ROOT / "build/bench", parser.parse_args()
    if given.long:
        found = json.loads((folder / "results.json").read_text())
        scale = replace(BASE, old=given.history - BASE.recent - BASE.live)
        found["growth"] |= long_history(folder, scale)["growth"]
    else:
        found = main(folder, given.history)
    told(found, folder / "results.json")
