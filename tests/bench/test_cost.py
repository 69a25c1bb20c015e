"""The monthly sum, from durations and the rendered template."""

from dataclasses import replace

import pytest

from bench.cost import Plant, billed_seconds, monthly, plant

PLANT = Plant(
    memory_mb=256, architecture="arm64", ticks_a_minute=6, tick_seconds=10, alarms=20, workflows=2, polled_queues=1
)
CALL = {"cpu_s": 0.02, "aws_calls": 3, "warm_statements": 7, "log_bytes": 2_000}


def test_the_plant_is_what_the_template_deploys() -> None:
    found = plant()
    assert (found.ticks_a_minute * found.tick_seconds, found.architecture) == (60, "arm64")
    assert found.workflows == 2
    assert found.alarms > 10
    assert found.polled_queues == 1


def test_a_share_of_a_core_stretches_cpu_time_and_nothing_else() -> None:
    waits = billed_seconds(CALL | {"cpu_s": 0.0}, 256)
    assert billed_seconds(CALL, 1769) == pytest.approx(waits + 0.02)
    assert billed_seconds(CALL, 3538) == pytest.approx(waits + 0.02)
    assert billed_seconds(CALL, 256) == pytest.approx(waits + 0.02 * 1769 / 256)


def test_the_items_add_up_and_what_is_listed_apart_is_not_among_them() -> None:
    found = monthly(CALL, CALL, PLANT)
    assert found["total"] == pytest.approx(sum(found["items"].values()), abs=0.05)
    assert set(found["apart"]) == {"custom_metrics", "alarms", "secret", "key"}
    assert not set(found["apart"]) & set(found["items"])


def test_twice_the_ticks_cost_more_compute() -> None:
    often = replace(PLANT, ticks_a_minute=12, tick_seconds=5)
    assert monthly(CALL, CALL, often)["items"]["lambda_compute"] > monthly(CALL, CALL, PLANT)["items"]["lambda_compute"]


def test_a_queue_is_asked_all_day_though_nothing_lies_in_it() -> None:
    """Five long polls of 20 s at a time, 730 hours, 0.40 USD a million."""
    without, with_one = (monthly(CALL, CALL, replace(PLANT, polled_queues=queues)) for queues in (0, 1))
    assert with_one["items"]["nudge_queue"] - without["items"]["nudge_queue"] == pytest.approx(0.26, abs=0.01)


def test_what_the_template_deploys_stays_under_five_dollars() -> None:
    """With the durations of docs/benchmarks.md and a fifth more."""
    assert monthly(CALL, CALL, plant())["total"] < 5
