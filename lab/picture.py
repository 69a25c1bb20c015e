"""The plots of a run as one standalone SVG, for pages that show pictures only."""

from collections.abc import Sequence
from html import escape

from lab import plots
from lab.plots import Frame, Series

WIDTH, LEFT, RIGHT = 1000, 44, 16
JOBS_HEIGHT, CAPACITY_HEIGHT, FLEET_HEIGHT, TOP, DOT = 70, 110, 262, 44, 9


def picture(
    drawn: Sequence[Series], span: float, marks: Sequence[float], outages: Sequence[tuple[float, float]], style: str
) -> str:
    """All fleets beneath each other; numbered dots stand for the scenes of the report. `style` is CSS."""
    height = TOP + FLEET_HEIGHT * len(drawn) + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="Queue and capacity of each fleet over time"><style>{style}</style>',
        f'<rect width="{WIDTH}" height="{height}" rx="12" style="fill:var(--card)"/>',
    ]
    parts += [_fleet(one, span, outages, TOP + FLEET_HEIGHT * index) for index, one in enumerate(drawn)]
    x = [Frame(span, 1, WIDTH - LEFT - RIGHT, 1, LEFT).x(at) for at in marks]
    close = [number > 0 and x[number] - x[number - 1] < 2 * DOT + 2 for number in range(len(x))]
    parts += [_mark(n + 1, x[n], height, low=close[n] and not close[n - 1]) for n in range(len(x))]
    parts.append(_legend(drawn, height - 14))
    return "".join(parts) + "</svg>\n"


def _fleet(one: Series, span: float, outages: Sequence[tuple[float, float]], up: float) -> str:
    width = WIDTH - LEFT - RIGHT
    jobs = Frame(span, plots.ceiling(max(2, one.most_jobs)), width, JOBS_HEIGHT, LEFT, up + 26)
    capacity = Frame(
        span, plots.ceiling(max(2, one.most_instances)), width, CAPACITY_HEIGHT, LEFT, up + 26 + JOBS_HEIGHT + 18
    )
    title = f'<text class="title" x="{LEFT}" y="{up + 16}">{escape(one.slug)}</text>'
    desired = f'<path class="desired" d="{plots.step_line(one.times, one.desired, capacity)}"/>'
    return (
        title
        + _grid(jobs, outages, "jobs")
        + _layers(one.times, one.jobs, jobs)
        + _grid(capacity, outages, "instances")
        + _layers(one.times, one.states, capacity)
        + desired
        + _axis(capacity)
    )


def _layers(times: list[float], layers: dict[str, list[int]], frame: Frame) -> str:
    shapes = plots.stacked(times, layers, frame)
    return "".join(f'<path style="fill:var(--{name})" d="{path}"/>' for name, path in shapes.items())


def _grid(frame: Frame, outages: Sequence[tuple[float, float]], unit: str) -> str:
    parts = []
    for value in (0, frame.top / 2, frame.top):
        y = frame.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:g}" y2="{y:g}"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{y + 4:g}" text-anchor="end" font-size="11">{value:g}</text>')
    for begin, end in outages:
        x = frame.x(begin)
        parts.append(
            f'<rect class="away" x="{x:g}" y="{frame.up:g}" width="{frame.x(end) - x:g}" height="{frame.height:g}"/>'
        )
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{frame.up - 4:g}" text-anchor="end" font-size="11">{unit}</text>')
    return "".join(parts)


def _axis(frame: Frame) -> str:
    step = 20 if frame.span > 60 else 10
    y = frame.up + frame.height + 15
    return "".join(
        f'<text x="{frame.x(t):g}" y="{y:g}" text-anchor="middle" font-size="11">{t} s</text>'
        for t in range(0, int(frame.span) + 1, step)
    )


def _mark(number: int, x: float, height: float, *, low: bool) -> str:
    """A numbered dot over its line; `low` dots make room for their neighbours."""
    y = DOT + 3 + (2 * DOT if low else 0)
    return (
        f'<line class="mark" x1="{x:g}" x2="{x:g}" y1="{y + DOT}" y2="{height - 44}"/>'
        f'<circle class="dot" cx="{x:g}" cy="{y}" r="{DOT}"/>'
        f'<text class="n" x="{x:g}" y="{y + 3.5:g}" text-anchor="middle">{number}</text>'
    )


def _legend(drawn: Sequence[Series], y: float) -> str:
    names = [name for name in plots.STATES if any(any(one.states[name]) for one in drawn)]
    parts, x = [], float(LEFT)
    for name, words in [("queued", "waiting"), ("leased", "worked on"), *((name, name) for name in names)]:
        parts.append(f'<rect x="{x:g}" y="{y - 10:g}" width="11" height="11" rx="2" style="fill:var(--{name})"/>')
        parts.append(f'<text x="{x + 16:g}" y="{y:g}" font-size="12">{words}</text>')
        x += 34 + 7 * len(words)
    parts.append(f'<path class="desired" d="M{x:g} {y - 4:g}h14"/><text x="{x + 20:g}" y="{y:g}" font-size="12">')
    return "".join(parts) + "desired capacity</text>"
