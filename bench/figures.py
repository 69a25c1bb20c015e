"""From probes to results: medians over runs, ratios over pairs, and how each axis grows."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

Figures = dict[str, Any]


def summary(probe: Mapping[str, Any]) -> Figures:
    """One function's figures. `statements` are a cold call's, with the two that set the session up."""
    runs = probe["runs"]
    figures: Figures = {
        "statements": probe["statements"],
        "sql_s": _median(run["sql_s"] for run in runs),
        "decide_s": _median(run["decide_s"] for run in runs),
        "aws_calls": probe["aws_calls"],
        "peak_mb": round(probe["peak_mb"], 1),
        "total_s": _median(run["total_s"] for run in runs),
        "best_s": round(min(run["total_s"] for run in runs), 4),
        "cpu_s": _median(run["cpu_s"] for run in runs),
        "rows_examined": probe["rows_examined"],
        "warm_statements": runs[0]["warm_statements"],
        "cold_aws_calls": probe["cold_aws_calls"],
        "cold_s": round(probe["cold_s"], 4),
        "aws": probe["aws"],
        "log_bytes": round(probe["log_bytes"]),
    }
    return figures | compared(probe.get("pairs", ()))


def compared(pairs: Iterable[tuple[float, float]]) -> Figures:
    """The median of the ratios of pairs that ran one after the other, not the ratio of medians."""
    found = list(pairs)
    if not found:
        return {}
    return {
        "straightforward_s": _median(theirs for _, theirs in found),
        "ratio": round(statistics.median(theirs / ours for ours, theirs in found), 1),
    }


def grown(before: Mapping[str, Any], after: Mapping[str, Any]) -> Figures:
    """What ten times as much on one axis does to one function."""
    return {
        "statements": [before["statements"], after["statements"]],
        "aws_calls": [before["aws_calls"], after["aws_calls"]],
        "rows_examined": [before["rows_examined"], after["rows_examined"]],
        "sql_s": [before["sql_s"], after["sql_s"]],
        "cpu_s": [before["cpu_s"], after["cpu_s"]],
        "total_s": [before["total_s"], after["total_s"]],
        "peak_mb": [before["peak_mb"], after["peak_mb"]],
        "times": round(after["total_s"] / before["total_s"], 1),
        "times_rows": round(after["rows_examined"] / before["rows_examined"], 1),
    }


def _median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 4)
