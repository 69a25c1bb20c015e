"""From samples to the shapes of a plot: step lines and stacked areas as SVG path data. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Entry = Mapping[str, Any]
STATES = ("busy", "idle", "booting", "pending", "draining", "leaving")
JOBS = ("leased", "queued")
GAP_SECONDS = 2.0


@dataclass(frozen=True)
class Series:
    """One fleet over time. `times` are seconds since the start; every list is as long as `times`."""

    group: str
    slug: str
    limit: int
    times: list[float]
    jobs: dict[str, list[int]]
    states: dict[str, list[int]]
    desired: list[int]

    @property
    def most_jobs(self) -> int:
        return max((sum(values) for values in zip(*self.jobs.values(), strict=True)), default=0)

    @property
    def most_instances(self) -> int:
        instances = max((sum(values) for values in zip(*self.states.values(), strict=True)), default=0)
        return max(instances, max(self.desired, default=0))


def series(samples: Sequence[Entry], start: float) -> list[Series]:
    """One series per fleet, by name."""
    groups = sorted({group for sample in samples for group in sample["fleets"]})
    return [_one(group, [sample for sample in samples if group in sample["fleets"]], start) for group in groups]


def _one(group: str, samples: Sequence[Entry], start: float) -> Series:
    fleets = [sample["fleets"][group] for sample in samples]
    return Series(
        group=group,
        slug=fleets[0]["slug"],
        limit=fleets[0]["max"],
        times=[round(max(0.0, sample["t"] - start), 2) for sample in samples],
        jobs={name: [fleet[name] for fleet in fleets] for name in JOBS},
        states={name: [fleet["states"][name] for fleet in fleets] for name in STATES},
        desired=[fleet["desired"] for fleet in fleets],
    )


@dataclass(frozen=True)
class Frame:
    """A plot's area: `span` seconds wide and `top` high in data units, drawn into width x height at (left, up)."""

    span: float
    top: float
    width: float
    height: float
    left: float = 0.0
    up: float = 0.0

    def x(self, seconds: float) -> float:
        return round(self.left + self.width * min(seconds, self.span) / self.span, 2)

    def y(self, value: float) -> float:
        return round(self.up + self.height * (1 - value / self.top), 2)


def step_line(times: Sequence[float], values: Sequence[float], frame: Frame) -> str:
    """A line that changes value at once; broken where nothing was seen (the database was away)."""
    parts: list[str] = []
    for index, (t, value) in enumerate(zip(times, values, strict=True)):
        if index == 0 or t - times[index - 1] > GAP_SECONDS:
            parts.append(f"M{frame.x(t):g} {frame.y(value):g}")
        elif value != values[index - 1]:
            parts.append(f"H{frame.x(t):g}V{frame.y(value):g}")
        if index + 1 == len(times) or times[index + 1] - t > GAP_SECONDS:
            parts.append(f"H{frame.x(t):g}")
    return "".join(parts)


def stacked(times: Sequence[float], layers: Mapping[str, Sequence[int]], frame: Frame) -> dict[str, str]:
    """Layer → closed path between it and what lies beneath it; layers that are never there are left out."""
    below = [0] * len(times)
    shapes: dict[str, str] = {}
    for name, values in layers.items():
        above = [low + value for low, value in zip(below, values, strict=True)]
        if any(values):
            shapes[name] = _between(times, below, above, frame)
        below = above
    return shapes


def _between(times: Sequence[float], below: Sequence[int], above: Sequence[int], frame: Frame) -> str:
    """One closed shape for each stretch in which the layer is there and was seen."""
    shapes: list[str] = []
    begin: int | None = None
    for index in range(len(times) + 1):
        there = index < len(times) and above[index] > below[index]
        seen = index > 0 and index < len(times) and times[index] - times[index - 1] <= GAP_SECONDS
        if begin is not None and not (there and seen):
            end = times[index] if seen else times[index - 1]
            shapes.append(_shape(times[begin:index], end, below[begin:index], above[begin:index], frame))
            begin = None
        if there and begin is None:
            begin = index
    return "".join(shapes)


def _shape(times: Sequence[float], end: float, below: Sequence[int], above: Sequence[int], frame: Frame) -> str:
    path = f"M{frame.x(times[0]):g} {frame.y(above[0]):g}"
    for index in range(1, len(times)):
        if above[index] != above[index - 1]:
            path += f"H{frame.x(times[index]):g}V{frame.y(above[index]):g}"
    path += f"H{frame.x(end):g}V{frame.y(below[-1]):g}"
    for index in range(len(times) - 1, 0, -1):
        if below[index] != below[index - 1]:
            path += f"H{frame.x(times[index]):g}V{frame.y(below[index - 1]):g}"
    return path + f"H{frame.x(times[0]):g}Z"


def ceiling(value: float) -> int:
    """A round top for an axis, a little above the highest value."""
    return next(top for top in (2, 4, 6, 8, 10, 12, 16, 20, 30, 40, 60, 80, 100, 200, 500, 1000, 10**6) if top >= value)
