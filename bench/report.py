"""The figures on a screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

AIMS: Mapping[str, Mapping[str, float]] = {
    "tick": {"statements": 10, "total_s": 0.5, "peak_mb": 128},
    "publish": {"statements": 12, "peak_mb": 128},
}
TIMES_AS_FAST = 10
COLD_START = 1.6
MONTHLY_USD = 5
ROWS = (
    ("statements", "SQL statements, session set-up included", "{:d}"),
    ("rows_examined", "rows examined", "{:,d}"),
    ("sql_s", "SQL time, s", "{:.3f}"),
    ("decide_s", "decide time, s", "{:.3f}"),
    ("aws_calls", "AWS calls", "{:d}"),
    ("peak_mb", "peak memory, MB", "{:.0f}"),
    ("total_s", "whole time, s (median)", "{:.3f}"),
    ("cpu_s", "of it CPU in the function, s", "{:.3f}"),
    ("straightforward_s", "the straightforward way, s", "{:.2f}"),
    ("ratio", "times as fast (median of pairs)", "{:.1f}"),
)


def table(results: Mapping[str, Any]) -> str:
    lines = [f"{'':42}{'tick':>12}{'publication':>14}"]
    for key, title, form in ROWS:
        tick, publish = (form.format(results[what][key]) for what in ("tick", "publish"))
        lines.append(f"{title:42}{tick:>12}{publish:>14}")
    return "\n".join(lines)


def growth(results: Mapping[str, Any]) -> str:
    lines = [f"{'ten times as much':18}{'':13}{'rows examined':>26}{'SQL s':>18}{'whole s':>18}{'times':>8}"]
    for axis, both in results["growth"].items():
        for what in ("tick", "publish"):
            one = both[what]
            rows = "{:,} → {:,}".format(*one["rows_examined"])
            sql = "{:.3f} → {:.3f}".format(*one["sql_s"])
            whole = "{:.3f} → {:.3f}".format(*one["total_s"])
            lines.append(f"{axis:18}{what:13}{rows:>26}{sql:>18}{whole:>18}{one['times']:>8}")
    return "\n".join(lines)


def money(results: Mapping[str, Any]) -> str:
    monthly = results["monthly"]
    lines = [f"  {name.replace('_', ' '):24}{usd:>8.2f}" for name, usd in monthly["items"].items()]
    lines.append(f"  {'control plane':24}{monthly['total']:>8.2f} USD a month, something boots all day")
    lines.append(f"  {'':24}{results['monthly_calm_usd']:>8.2f} nothing boots")
    lines += [f"  {name.replace('_', ' '):24}{usd:>8.2f} apart" for name, usd in monthly["apart"].items()]
    return "\n".join(lines)


def missed(results: Mapping[str, Any]) -> list[str]:
    """Aims that this run does not reach, in words."""
    found = []
    for what, aims in AIMS.items():
        figures = results[what]
        for key, limit in aims.items():
            if figures[key] > limit:
                found.append(f"{what}: {key} {figures[key]} > {limit}")
        if figures["ratio"] < TIMES_AS_FAST:
            found.append(f"{what}: ratio {figures['ratio']} < {TIMES_AS_FAST}")
    if results["monthly_usd"] >= MONTHLY_USD:
        found.append(f"monthly_usd {results['monthly_usd']} >= {MONTHLY_USD}")
    slow = {name: ratio for name, ratio in results["cold_start_ratio"].items() if ratio > COLD_START}
    return found + [f"cold start of {name}: {ratio} > {COLD_START}" for name, ratio in slow.items()]
