"""report.html: one self-contained page about a run. No picture, font or script is loaded from anywhere."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template

from lab import plots
from lab.decision_log import decision_rows, rules
from lab.lines import fleet as fleet_name
from lab.lines import line
from lab.measures import Entry, Evidence
from lab.picture import picture
from lab.plots import Frame, Series

PAGE = Path(__file__).parent / "page"
LABELS = {
    "busy": "busy",
    "idle": "idle",
    "booting": "booting",
    "pending": "pending",
    "draining": "draining",
    "leaving": "leaving",
    "leased": "jobs being worked on",
    "queued": "jobs waiting",
}


MARK_SHARE = 0.065
"""Of the width of a plot, what a mark needs on a phone (some 300 px for 18)."""


@dataclass(frozen=True)
class Overlay:
    """What lies over every plot: scenes (seconds, title) and outages (from, to) within `span` seconds."""

    span: float
    marks: Sequence[tuple[float, str]]
    outages: Sequence[tuple[float, float]]


def write_report(path: Path, summary: Entry, evidence: Evidence, start: float, *, svg: Path | None = None) -> None:
    """`start` is the unix time of the story's beginning; `svg` receives the plots as one picture besides."""
    drawn = plots.series(evidence.samples, start)
    span = max([float(summary["seconds"]), *(one.times[-1] for one in drawn if one.times)], default=1.0)
    over = Overlay(span, scenes(evidence, start), away(evidence, start, span))
    log = decision_rows(evidence.decisions, start)
    page = Template((PAGE / "report.html").read_text(encoding="utf-8")).substitute(
        style=_asset("colours.css") + _asset("report.css"),
        script=_asset("report.js"),
        headline=_headline(summary),
        lead=_lead(summary),
        broken=_broken(summary),
        tiles="\n".join(_tiles(summary)),
        fleets="\n".join(_fleet(one, over) for one in drawn),
        events="\n".join(_events(evidence, start)),
        fleet_options=_options(one.slug for one in drawn),
        rule_options=_options(rules(evidence.decisions)),
        decisions="\n".join(log),
        calls="\n".join(f"<li>{escape(name)} <b>{count}</b></li>" for name, count in summary["aws_calls"].items()),
        footer=f"Seconds count from the first schedule of the run, {_stamp(start)}.",
        data=_data(drawn, span),
    )
    path.write_text(page, encoding="utf-8")
    if svg is not None:
        style = _asset("colours.css") + _asset("picture.css")
        svg.write_text(picture(drawn, span, [at for at, _ in over.marks], over.outages, style), encoding="utf-8")


def scenes(evidence: Evidence, start: float) -> list[tuple[float, str]]:
    """(seconds, title) of what the run set out to show."""
    return [(max(0.0, entry["t"] - start), str(entry["title"])) for entry in evidence.of("scene")]


def away(evidence: Evidence, start: float, span: float) -> list[tuple[float, float]]:
    """(from, to) in seconds of every outage of the database; one without an end lasts until the end of the run."""
    outages: list[tuple[float, float]] = []
    for entry in evidence.of("database"):
        at = entry["t"] - start
        if entry["state"] == "away":
            outages.append((at, span))
        elif outages:
            outages[-1] = (outages[-1][0], at)
    return outages


def _asset(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def _stamp(start: float) -> str:
    return datetime.fromtimestamp(start).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


# -- top -----------------------------------------------------------------------------------------------------------


def _headline(summary: Entry) -> str:
    if summary["broken"]:
        return f"{len(summary['broken'])} of the promises broke"
    return f"{summary['jobs_completed']} jobs done, none lost, no busy worker killed"


def _lead(summary: Entry) -> str:
    return (
        f"In {summary['seconds']:.0f} seconds the control plane took {len(summary['final_desired'])} fleets from zero "
        f"up to {summary['scale_out_max']} instances and back, through {summary['interruptions']} Spot interruption"
        f"{'' if summary['interruptions'] == 1 else 's'}, a sudden death and whatever else is marked below."
    )


def _broken(summary: Entry) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in summary["broken"])
    return f'<ul class="broken">{items}</ul>' if items else ""


def _tiles(summary: Entry) -> Iterable[str]:
    yield _tile(f"{summary['jobs_completed']} / {summary['jobs_submitted']}", "jobs completed")
    for name, words in (
        ("jobs_lost", "jobs lost"),
        ("jobs_completed_twice", "completed twice"),
        ("busy_workers_killed", "busy workers killed"),
        ("attempts_charged_to_interruptions", "attempts charged to interruptions"),
    ):
        yield _tile(str(summary[name]), words, "bad" if summary[name] else "good")
    for name, words in (
        ("enqueue_to_request_loop_p95_s", "job → request, by the loop (p95)"),
        ("enqueue_to_request_nudged_p95_s", "job → request, nudged (p95)"),
        ("requeue_p95_s", "warning → job leasable (p95)"),
        ("requeue_after_sudden_death_p95_s", "sudden death → job leasable (p95)"),
    ):
        missed = any(sentence.startswith(name) for sentence in summary["aims_missed"])
        yield _tile("none" if summary[name] is None else f"{summary[name]:.1f} s", words, "bad" if missed else "")
    yield _tile(str(summary["interruptions"]), "Spot interruptions")
    yield _tile(str(summary["max_instances_launched"]), "instances launched by one fleet, at most")
    yield _tile(str(summary["decisions"]), "decisions")
    yield _tile(str(sum(summary["aws_calls"].values())), "AWS calls")


def _tile(value: str, words: str, mood: str = "") -> str:
    return f'<div class="tile {mood}"><b>{escape(value)}</b><span>{escape(words)}</span></div>'


# -- plots ---------------------------------------------------------------------------------------------------------


def _fleet(one: Series, over: Overlay) -> str:
    jobs = Frame(over.span, plots.ceiling(max(2, one.most_jobs)), 1000, 100)
    instances = Frame(over.span, plots.ceiling(max(2, one.most_instances)), 1000, 100)
    desired = f'<path class="desired" d="{plots.step_line(one.times, one.desired, instances)}"/>'
    return (
        f'<article class="fleet" data-fleet="{escape(one.group)}"><h3>{escape(one.slug)}</h3>'
        f'<p class="about">group {escape(one.group)}, at most {one.limit} instances</p>{_marks(over)}'
        + _plot("jobs", _layers(one, one.jobs, jobs), jobs, over)
        + _legend(name for name in one.jobs if any(one.jobs[name]))
        + _plot("instances", _layers(one, one.states, instances) + desired, instances, over)
        + _axis(over.span)
        + _legend((name for name in one.states if any(one.states[name])), desired=True, away=bool(over.outages))
        + "</article>"
    )


def _layers(one: Series, layers: dict[str, list[int]], frame: Frame) -> str:
    shapes = plots.stacked(one.times, layers, frame)
    return "".join(f'<path style="fill:var(--{name})" d="{path}"/>' for name, path in shapes.items())


def _plot(kind: str, shapes: str, frame: Frame, over: Overlay) -> str:
    ticks = [0, frame.top / 2, frame.top]
    labels = "".join(f'<span class="tick" style="top:{frame.y(v):g}%">{v:g}</span>' for v in ticks)
    grid = "".join(f'<line class="grid" x1="0" x2="1000" y1="{frame.y(v):g}" y2="{frame.y(v):g}"/>' for v in ticks)
    bands = "".join(
        f'<rect class="away" x="{frame.x(a):g}" y="0" width="{frame.x(b) - frame.x(a):g}" height="100"/>'
        for a, b in over.outages
    )
    marks = [frame.x(at) for at, _ in over.marks]
    lines = "".join(f'<line class="mark" x1="{x:g}" x2="{x:g}" y1="0" y2="100"/>' for x in marks)
    return (
        f'<div class="plot {kind}">{labels}<svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" '
        f'aria-label="{kind} over time">{grid}{bands}{shapes}{lines}</svg></div>'
    )


def _marks(over: Overlay) -> str:
    rows = lanes([at / over.span for at, _ in over.marks])
    items = [
        f'<a href="#scene-{number}" title="{escape(title)}" '
        f'style="left:{100 * at / over.span:.2f}%;--lane:{row}">{number}</a>'
        for number, ((at, title), row) in enumerate(zip(over.marks, rows, strict=True), start=1)
    ]
    return f'<div class="marks" style="--lanes:{max(rows, default=0) + 1}">{"".join(items)}</div>'


def lanes(shares: Iterable[float]) -> list[int]:
    """The row of each mark, so that none lies on another; `shares` are places along the plot's width, ascending."""
    rows: list[int] = []
    last: list[float] = []
    for share in shares:
        row = next((number for number, before in enumerate(last) if share - before >= MARK_SHARE), len(last))
        last[row : row + 1] = [share]
        rows.append(row)
    return rows


def _axis(span: float) -> str:
    step = 20 if span > 60 else 10
    spans = [f'<span style="left:{100 * t / span:.2f}%">{t} s</span>' for t in range(0, int(span) + 1, step)]
    return f'<div class="axis" aria-hidden="true">{"".join(spans)}</div>'


def _legend(names: Iterable[str], *, desired: bool = False, away: bool = False) -> str:
    items = [f'<li><i style="background:var(--{name})"></i>{LABELS[name]}</li>' for name in names]
    if desired:
        items.append('<li><i class="stroke"></i>desired capacity</li>')
    if away:
        items.append('<li><i class="outage"></i>database away</li>')
    return f'<ul class="legend">{"".join(items)}</ul>'


def _data(drawn: Sequence[Series], span: float) -> str:
    fleets = {
        one.group: {"times": one.times, "desired": one.desired, "states": one.states, "jobs": one.jobs} for one in drawn
    }
    return json.dumps({"span": span, "fleets": fleets}, separators=(",", ":")).replace("</", "<\\/")


# -- events --------------------------------------------------------------------------------------------------------


def _events(evidence: Evidence, start: float) -> Iterable[str]:
    number = 0
    for entry in evidence.journal:
        spoken = line(entry)
        if spoken is None or spoken.tone == "quiet":
            continue
        at = f"{max(0.0, entry['t'] - start):.1f} s"
        if spoken.tone == "scene":
            number += 1
            yield (f'<li class="scene" id="scene-{number}"><b>{number}</b><time>{at}</time>'
                   f"<span>{escape(spoken.text)}</span></li>")  # fmt: skip
        else:
            yield f'<li class="{spoken.tone}"><i></i><time>{at}</time><span>{escape(spoken.text)}</span></li>'


def _options(names: Iterable[str]) -> str:
    return "".join(f"<option>{escape(fleet_name(name))}</option>" for name in names)
