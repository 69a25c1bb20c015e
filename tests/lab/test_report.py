"""The narrator's lines and the report say what happened, plainly and safely."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from lab import observer, plots
from lab.jobs import Burst, arrivals
from lab.lines import line
from lab.measures import Evidence
from lab.narrator import Narrator
from lab.plots import Frame
from lab.report import lanes, write_report
from lab.sampler import state_of

GROUP = "asg-staging-face-swap"
NOTHING = dict.fromkeys(plots.STATES, 0)


def sample(t: float, desired: int, queued: int = 0, leased: int = 0, **states: int) -> dict[str, Any]:
    fleet = {"slug": "face-swap", "queued": queued, "leased": leased, "desired": desired, "max": 10}
    return {"t": t, "kind": "sample", "fleets": {GROUP: {**fleet, "states": NOTHING | states}}}


def decision(t: int, rule: str, reason: str, **fields: Any) -> dict[str, Any]:
    stamp = f"1970-01-01T00:00:{t:02d}+00:00"
    return {"message": "decision", "timestamp": stamp, "function": "reconcile", "fleet": GROUP, "rule": rule,
            "reason": reason, **fields}  # fmt: skip


def run() -> Evidence:
    return Evidence(
        journal=[
            {"t": 1.0, "kind": "scene", "title": "From zero"},
            {"t": 4.0, "kind": "database", "state": "away"},
            {"t": 6.0, "kind": "database", "state": "back"},
            {"t": 7.0, "kind": "instance", "id": "i-0123456789abcdef0", "group": GROUP, "state": "warned", "cause": ""},
        ],
        dispatches=[],
        audits=[],
        samples=[sample(0, 0), sample(0.5, 2, 4, pending=2), sample(1, 2, 2, 2, busy=2), sample(9, 2, busy=1, idle=1)],
        decisions=[
            decision(1, "raise", "4 jobs want 2 instances", set_desired=2, numbers={"queued": 4, "wanted": 2}),
            decision(2, "steady", "<script>alert(1)</script>"),
            decision(3, "steady", "<script>alert(1)</script>"),
        ],
        fleets={GROUP: {"desired": 0, "max": 10, "instances": 0}},
    )  # fmt: skip


@pytest.fixture
def report(tmp_path: Path) -> str:
    evidence = run()
    write_report(tmp_path / "report.html", observer.summarize(evidence, 10.0), evidence, 0.0, svg=tmp_path / "demo.svg")
    return (tmp_path / "report.html").read_text(encoding="utf-8")


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_loads_nothing_from_anywhere(report: str) -> None:
    page = Page(report)
    loads = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "data")]
    links = [a.get("href") or "" for a in page.all("a")]
    assert loads == []
    assert page.all("link") == []
    assert all(link.startswith("#") for link in links)
    assert "url(" not in report
    assert "@import" not in report


def test_the_page_fits_a_phone_and_follows_its_colour_scheme(report: str) -> None:
    viewport = [meta["content"] for meta in Page(report).all("meta") if meta.get("name") == "viewport"]
    assert viewport == ["width=device-width, initial-scale=1"]
    assert "prefers-color-scheme: dark" in report
    assert "@media (max-width: 40rem)" in report


def test_what_functions_logged_is_shown_and_never_executed(report: str) -> None:
    assert "<script>alert(1)" not in report
    assert "&lt;script&gt;alert(1)" in report


def test_each_decision_is_a_row_with_its_numbers_and_repeats_are_marked(report: str) -> None:
    rows = [a for a in Page(report).all("li") if "data-rule" in a]
    assert [row["data-rule"] for row in rows] == ["raise", "steady", "steady"]
    assert ["data-repeat" in row for row in rows] == [False, False, True]
    assert "desired → 2: 4 jobs want 2 instances" in report
    assert "queued 4 · wanted 2" in report


def test_scenes_are_numbered_marks_and_the_outage_is_a_band(report: str) -> None:
    page = Page(report)
    assert [a["href"] for a in page.all("a")] == ["#scene-1"]
    assert len([a for a in page.all("rect") if a.get("class") == "away"]) == 2
    assert {a.get("id") for a in page.all("li")} >= {"scene-1"}


def test_the_outages_colour_is_explained(report: str) -> None:
    assert "database away" in report


@pytest.mark.parametrize(
    ("places", "rows"),
    [
        pytest.param([], [], id="none"),
        pytest.param([0.0, 0.2, 0.9], [0, 0, 0], id="far apart"),
        pytest.param([0.6, 0.62, 0.64, 0.7], [0, 1, 2, 0], id="crowded"),
        pytest.param([0.5, 0.5], [0, 1], id="at once"),
    ],
)
def test_marks_that_would_lie_on_each_other_get_rows_of_their_own(places: list[float], rows: list[int]) -> None:
    assert lanes(places) == rows


def test_the_picture_is_one_well_formed_svg(report: str, tmp_path: Path) -> None:
    root = ElementTree.fromstring((tmp_path / "demo.svg").read_text())  # noqa: S314 - our own file
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "face-swap" in [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_line_steps_at_once_and_breaks_where_nothing_was_seen() -> None:
    frame = Frame(span=10, top=4, width=100, height=40)
    assert plots.step_line([0, 1, 2, 8], [0, 4, 4, 2], frame) == "M0 40H10V0H20M80 20H80"


def test_layers_lie_on_each_other_and_absent_ones_are_left_out() -> None:
    frame = Frame(span=10, top=4, width=100, height=40)
    shapes = plots.stacked([0, 1, 2], {"busy": [0, 1, 1], "idle": [0, 0, 1], "leaving": [0, 0, 0]}, frame)
    assert shapes == {"busy": "M10 30H20V40H10Z", "idle": "M20 20H20V30H20Z"}


@pytest.mark.parametrize(
    ("lifecycle", "worker", "state"),
    [
        ("Pending", None, "pending"),
        ("InService", None, "booting"),
        ("InService", {"is_draining": 0, "busy": 1}, "busy"),
        ("InService", {"is_draining": 0, "busy": 0}, "idle"),
        ("InService", {"is_draining": 1, "busy": 1}, "draining"),
        ("Terminating:Wait", {"is_draining": 0, "busy": 1}, "leaving"),
    ],
)
def test_an_onlooker_names_the_state_of_an_instance(lifecycle: str, worker: Any, state: str) -> None:
    assert state_of(lifecycle, worker) == state


def test_the_narrator_says_each_thing_once_in_order_of_time(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "journal.jsonl").write_text('{"t": 12.0, "kind": "database", "state": "away"}\n{"t": 13')
    records = [
        decision(11, "raise", "why", set_desired=2),
        decision(13, "steady", "same"),
        decision(14, "steady", "same"),
    ]
    (tmp_path / "logs/reconcile.log").write_text("".join(json.dumps(record) + "\n" for record in records))
    spoken: list[str] = []
    narrator = Narrator(tmp_path, 10.0, spoken.append)
    narrator.tell()
    narrator.tell()
    assert spoken == [
        "   1.0 s  face-swap raise: desired → 2 — why",
        "   2.0 s  the database is away",
        "   3.0 s  face-swap steady — same",
    ]


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"kind": "instance", "id": "i-0123456789abcdef0", "group": GROUP, "state": "warned"},
         "i-…cdef0 of face-swap: Spot interruption warning"),
        ({"kind": "invocation", "function": "f", "error": {"errorType": "Busy", "errorMessage": "try\nagain"}},
         "f failed: Busy: try again"),
        ({"kind": "burst", "jobs": 1, "workflow": "face-swap", "tenant": "acme", "name": "b", "nudged": True},
         "1 job for face-swap from acme (b, JobQueued sent)"),
        ({"timestamp": "2026-11-23T22:05:09.391+00:00", "worker_id": "i-1", "event": "fenced", "dispatch_id": 69},
         "i-1 is told that job 69 is no longer its own"),
        ({"kind": "admin", "action": "undrain", "id": "i-1"}, "an administrator gives i-1 back"),
    ],
)  # fmt: skip
def test_a_line_is_plain(entry: dict[str, Any], text: str) -> None:
    spoken = line(entry)
    assert spoken is not None
    assert spoken.text == text


def test_successful_calls_and_mere_notices_of_an_end_go_unsaid() -> None:
    assert line({"kind": "invocation", "function": "f", "error": None}) is None
    assert line({"message": "decision", "rule": "spot terminated", "reason": "it held no job", "requeued": []}) is None


def test_the_same_seed_gives_the_same_jobs_and_another_seed_others() -> None:
    bursts = [Burst("b", 2.0, "face-swap", 5, long=1, long_seconds=30), Burst("a", 1.0, "face-swap", 3, nudged=True)]
    plan = arrivals(bursts, seed=7)
    assert plan == arrivals(bursts, seed=7)
    assert plan != arrivals(bursts, seed=8)
    assert [arrival.burst for arrival in plan] == ["a"] * 3 + ["b"] * 5
    assert [arrival.seconds for arrival in plan].count(30) == 1
