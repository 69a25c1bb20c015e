"""The monthly sum, from durations and the rendered template."""

from dataclasses import replace

import pytest

from bench.cost import A_DAY, Plant, billed_seconds, monthly, plant
from bench.executions import Execution, executions, through

PLANT = Plant(
    memory_mb=256,
    architecture="arm64",
    ticks_a_minute=6,
    tick_seconds=10,
    alarms=20,
    workflows=2,
    polled_queues=1,
    gauges=2,
    executions={name: Execution(transitions=12, tasks=4) for name in A_DAY},
)
CALL = {"cpu_s": 0.02, "aws_calls": 3, "warm_statements": 7, "log_bytes": 2_000}


def test_the_plant_is_what_the_template_deploys() -> None:
    found = plant()
    assert (found.ticks_a_minute * found.tick_seconds, found.architecture) == (60, "arm64")
    assert found.workflows == 2
    assert found.alarms > 10
    assert found.polled_queues == 1
    assert found.gauges == 2
    assert found.executions.keys() == A_DAY.keys()


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


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        pytest.param(["done"], Execution(4, 1), id="start, Respond, Again, Done"),
        pytest.param(["wait"] * 24 + ["done"], Execution(76, 25), id="a look each 5 s"),
    ],
)
def test_transitions_are_those_of_the_machine_that_is_deployed(answers: list[str], expected: Execution) -> None:
    assert through("spot_interruption.asl.json", iter(answers)) == expected


def test_the_way_of_an_interrupted_instance_is_short_though_its_job_runs_to_the_end() -> None:
    """Two looks and the end for its warning; for its hook a look before the mark, one after, and the end."""
    found = executions()
    assert (found["warning"].tasks, found["hook_of_a_warning"].tasks) == (3, 3)
    assert found["scale_in_replaced"].tasks <= 10


def test_a_transition_more_is_paid_for_as_often_as_it_is_made() -> None:
    more = replace(PLANT, executions={name: Execution(112, 4) for name in A_DAY})
    extra = 100 * sum(A_DAY.values()) * 365 / 12 * 0.000025
    standard = [monthly(CALL, CALL, of)["items"]["standard_machines"] for of in (more, PLANT)]
    assert standard[0] - standard[1] == pytest.approx(extra, abs=0.011)


def test_each_gauge_is_a_metric_of_every_workflow() -> None:
    without = monthly(CALL, CALL, replace(PLANT, gauges=0))["apart"]["custom_metrics"]
    assert monthly(CALL, CALL, PLANT)["apart"]["custom_metrics"] == pytest.approx(without + 2 * 2 * 0.30)


def test_what_the_template_deploys_stays_under_five_dollars() -> None:
    """Where nothing boots, with the CPU times of docs/benchmarks.md and a fifth more."""
    publish = CALL | {"cpu_s": 0.012, "aws_calls": 2, "warm_statements": 5}
    assert monthly(CALL, publish, plant())["total"] < 5


def test_the_survey_of_images_each_minute_is_paid_for() -> None:
    idle, dear = (
        CALL | {"cpu_s": 0.0, "aws_calls": 0, "warm_statements": 0},
        CALL | {"cpu_s": 0.0, "warm_statements": 0},
    )
    costs = [monthly(CALL, publish, PLANT)["items"]["lambda_compute"] for publish in (idle, dear)]
    a_minute = 3 * 0.06 * 0.25 * 0.0000133334
    assert costs[1] - costs[0] == pytest.approx(2 * 43_800 * a_minute, abs=0.011)
