"""A mishap of the second act counts when it happened and was answered, and is told when it was not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lab import scenes, spot_scenes
from lab.measures import Entry, Evidence
from lab.second_act import second_act

from .test_observer import GROUP, T0, audit, instance, story
from .test_scenes import decision

REBALANCED = "an instance was started in response to an EC2 instance rebalance recommendation"


def befalls(t: float, kind: str, state: str, **fields: object) -> Entry:
    return {"t": T0 + t, "kind": kind, "state": state, "group": GROUP, **fields}


def told() -> Evidence:
    return Evidence(
        journal=[
            story(115.0, *spot_scenes.SCENES),
            befalls(0, "market", "dry"),
            {"t": T0 + 3, "kind": "launch_failed", "group": GROUP},
            befalls(14, "market", "open"),
            instance(16, "i-1", "pending"),
            instance(17, "i-2", "pending", REBALANCED),
            befalls(20, "zone", "reclaimed", warned=["i-1", "i-9"]),
            befalls(30, "image", "broken"),
            instance(31, "i-3", "pending"),
            befalls(34, "backend", "away"),
            befalls(47, "backend", "back"),
            befalls(50, "image", "good"),
            instance(55, "i-4", "pending"),
        ],
        dispatches=[],
        audits=[
            audit("registered", None, "i-1", 18),
            audit("fleet_drained", None, "i-1", 21, reason="spot_interruption"),
            audit("registered", None, "i-4", 58),
        ],
        decisions=[
            decision(4, "raise", reason="2 jobs; capacity blocked for 1 s: Spot has none"),
            decision(42, "breaker", reason="breaker open: 3 launches in a row never registered"),
            decision(45, "hold", reason="the backend seems away: 2 of 2 workers have been silent too long"),
            decision(51, "steady", reason="as it is"),
        ],
    )


def test_an_act_that_showed_everything_misses_nothing() -> None:
    assert scenes.missing(told()) == []


def without(*what: Entry) -> Callable[[Evidence], Evidence]:
    def change(run: Evidence) -> Evidence:
        kept: dict[str, Any] = {
            name: [e for e in getattr(run, name) if e not in what] for name in ("journal", "audits", "decisions")
        }
        return replace(run, **kept)

    return change


WHOLE = told()


def also(**more: list[Entry]) -> Callable[[Evidence], Evidence]:
    def change(run: Evidence) -> Evidence:
        both: dict[str, Any] = {name: [*getattr(run, name), *entries] for name, entries in more.items()}
        return replace(run, **both)

    return change


@pytest.mark.parametrize(
    ("name", "change"),
    [
        pytest.param("dry market", without(WHOLE.journal[2]), id="no launch was refused"),
        pytest.param("dry market", without(WHOLE.decisions[0]), id="nobody said why"),
        pytest.param("dry market", without(WHOLE.journal[3]), id="never made good"),
        pytest.param("pool replaced", without(WHOLE.journal[5]), id="no replacement"),
        pytest.param(
            "pool replaced",
            also(audits=[audit("requeued", 1, "i-1", 18, reason="capacity_rebalance")]),
            id="a job was taken for it",
        ),
        pytest.param("zone reclaimed", without(WHOLE.journal[6]), id="no zone"),
        pytest.param("zone reclaimed", without(WHOLE.audits[1]), id="somebody warned was not drained"),
        pytest.param(
            "zone reclaimed",
            also(audits=[audit("fleet_undrained", None, "i-1", 22)]),
            id="somebody warned was taken back into service",
        ),
        pytest.param("broken image", without(WHOLE.decisions[1]), id="no breaker"),
        pytest.param("broken image", without(WHOLE.audits[2]), id="nobody registered when it was mended"),
        pytest.param("backend away", without(WHOLE.decisions[2]), id="no hold"),
        pytest.param("backend away", without(WHOLE.decisions[3]), id="nothing after it"),
    ],
)
def test_what_did_not_happen_is_told(name: str, change: Callable[[Evidence], Evidence]) -> None:
    assert scenes.missing(change(told())) == [f"scene not seen, {name}: {spot_scenes.SCENES[name][0]}"]


def test_a_worker_that_read_of_its_end_and_left_needs_no_drain() -> None:
    left = audit("deregistered", None, "i-1", 21)
    assert scenes.missing(also(audits=[left])(without(WHOLE.audits[1])(WHOLE))) == []


def test_a_drain_counts_within_six_seconds_and_how_soon_it_came_is_told() -> None:
    def drained(t: float) -> Evidence:
        late = audit("fleet_drained", None, "i-1", t, reason="spot_interruption")
        return also(audits=[late])(without(WHOLE.audits[1])(WHOLE))

    assert [scenes.missing(drained(t)) == [] for t in (26, 27)] == [True, False]
    assert [spot_scenes.marked_latencies(run) for run in (drained(26), drained(27))] == [[6.0], [7.0]]
    assert spot_scenes.marked_latencies(without(WHOLE.audits[1])(WHOLE)) == []


def test_each_of_them_is_promised_by_the_second_act() -> None:
    assert {scene.shows for scene in second_act(1).scenes if scene.shows} == set(spot_scenes.SCENES)
