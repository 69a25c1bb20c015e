"""The benchmark's own promises, at a thousandth of its size: both ways agree, and history costs nothing."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.figures import summary
from bench.scale import Scale
from bench.stand import Stand, stand

SMALL = Scale(fleets=3, workers=30, old=5_000, recent=60, live=60)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with stand(Path(tmp_path_factory.mktemp("bench")), SMALL) as running:
        running.load(SMALL)
        yield running


@pytest.fixture(scope="module")
def figures(bench: Stand) -> dict[str, Any]:
    return {what: summary(bench.probe(what, runs=2, compare=1)) for what in ("tick", "publish")}


@pytest.mark.parametrize(("what", "most"), [("tick", 10), ("publish", 12)])
def test_a_cold_call_keeps_within_its_statements_and_ends_as_the_straightforward_way_does(
    figures: dict[str, Any], what: str, most: int
) -> None:
    """That both ways decide alike is the probe's own check: it fails where they differ."""
    assert 0 < figures[what]["statements"] <= most
    assert figures[what]["warm_statements"] == figures[what]["statements"] - 2
    assert figures[what]["straightforward_s"] > 0


def test_aws_is_asked_by_pages(figures: dict[str, Any]) -> None:
    # In each of the three fleets an instance boots: its group may launch another in its place at any moment.
    booting = {"DescribeScalingActivities": SMALL.fleets}
    assert figures["tick"]["aws"] == {"DescribeAutoScalingGroups": 1, "DescribeInstances": 3} | booting
    assert figures["publish"]["aws"] == {"DescribeAutoScalingGroups": 1, "PutMetricData": 1}


def test_where_nothing_boots_no_launches_are_read(bench: Stand) -> None:
    bench.exchange(replace(SMALL, boots=False))
    calm = summary(bench.probe("tick", runs=1))
    bench.exchange(SMALL)
    assert calm["aws"] == {"DescribeAutoScalingGroups": 1, "DescribeInstances": 2}


def test_rows_examined_stay_flat_when_history_grows_tenfold(bench: Stand, figures: dict[str, Any]) -> None:
    bench.load(replace(SMALL, old=10 * SMALL.old))
    for what in ("tick", "publish"):
        after = summary(bench.probe(what, runs=1))["rows_examined"]
        assert after <= 1.1 * figures[what]["rows_examined"], f"{what} reads history"
