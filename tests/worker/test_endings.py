"""The end of a machine or a process: what is finished, what is given back, and that it happens once."""

import signal
import time

from fleet_control.act.jobs import Jobs

from lab.mariadb import MariaDb
from tests.contract.conftest import open_as

from .stand import Stand


def control_plane(mariadb: MariaDb) -> Jobs:
    """The product's own hand on the job table."""
    return Jobs(open_as(mariadb, mariadb.root.username, mariadb.root.password))


def test_an_idle_worker_that_is_warned_deregisters_and_ends(stand: Stand) -> None:
    process = stand.start()
    stand.until(lambda: "registered" in stand.events())
    stand.instance().metadata.warn(20)
    assert process.wait(5) == 0
    assert stand.workers() == []
    assert not (stand.folder / "i-1" / "state" / "token.json").exists()


def test_a_job_that_ends_before_the_instance_does_is_finished_and_no_other_begun(stand: Stand) -> None:
    first = stand.submit(1, 2.5)
    stand.start()
    stand.until(lambda: "rendering" in stand.events())
    second = stand.submit(2, 0.1)
    stand.instance().metadata.warn(20)
    assert stand.exit_code() == 0
    assert (stand.status(first), stand.status(second)) == ("completed", "queued")
    assert stand.workers() == []


def test_a_job_too_long_for_the_notice_is_given_back_just_before_the_end_at_no_cost(stand: Stand) -> None:
    dispatch = stand.submit(1, 60)
    stand.start()
    stand.until(lambda: "rendering" in stand.events())
    stand.instance().metadata.warn(4)
    warned = time.monotonic()
    stand.until(lambda: stand.status(dispatch) == "queued")
    assert time.monotonic() - warned > 1, "shortly before the end, not at once"
    assert stand.exit_code() == 0
    assert stand.audits(dispatch) == ["poll", "requeued"]
    assert stand.job(dispatch)["attempts"] == 0
    assert stand.job(dispatch)["last_error"] == "Requeued: spot_interruption"
    assert stand.instance().comfyui.rendering() == 0


def test_notice_and_control_plane_at_once_requeue_once(stand: Stand, mariadb: MariaDb) -> None:
    dispatch = stand.submit(1, 60)
    stand.start("i-1")
    stand.until(lambda: "rendering" in stand.events("i-1"))
    held = stand.job(dispatch)
    stand.instance("i-1").metadata.warn(3)
    assert control_plane(mariadb).requeue(dispatch, held["lease_token"], "spot_interruption", 1, "i-1")
    assert stand.exit_code("i-1") == 0
    assert "fenced" in stand.events("i-1")
    assert stand.audits(dispatch) == ["poll", "requeued"]
    stand.write("UPDATE lab.jobs SET seconds = 0.1")
    stand.start("i-2")
    stand.until(lambda: stand.status(dispatch) == "completed")
    assert stand.job(dispatch)["attempts"] == 1


def test_sigterm_lets_a_job_finish_that_can(stand: Stand) -> None:
    dispatch = stand.submit(1, 1.0)
    stand.start(STOP_GRACE_SECONDS="20")
    stand.until(lambda: "rendering" in stand.events())
    assert stand.end() == 0
    assert stand.status(dispatch) == "completed"
    assert stand.workers() == []


def test_sigterm_gives_back_a_job_that_cannot_finish(stand: Stand) -> None:
    dispatch = stand.submit(1, 60)
    stand.start()
    stand.until(lambda: "rendering" in stand.events())
    assert stand.end(number=signal.SIGTERM) == 0
    assert stand.audits(dispatch) == ["poll", "requeued"]
    assert stand.job(dispatch)["last_error"] == "Requeued: worker_stopped"


def test_a_rebalance_recommendation_alone_changes_nothing(stand: Stand) -> None:
    first = stand.submit(1, 1.0)
    stand.start()
    stand.until(lambda: "rendering" in stand.events())
    stand.instance().metadata.recommend_rebalance()
    stand.until(lambda: stand.status(first) == "completed")
    second = stand.submit(2, 0.1)
    stand.until(lambda: stand.status(second) == "completed")
    assert stand.processes["i-1"].poll() is None


def test_a_notice_is_heard_although_the_metadata_token_was_forgotten(stand: Stand) -> None:
    stand.start()
    stand.until(lambda: stand.instance().metadata.asked > 1)
    stand.instance().metadata.forget_tokens()
    stand.instance().metadata.warn(20)
    assert stand.exit_code() == 0
    assert "spot_notice" in stand.events()


def test_without_a_metadata_service_the_worker_serves(stand: Stand) -> None:
    dispatch = stand.submit(1, 0.5)
    stand.start(METADATA_BASE_URL="http://127.0.0.1:9")
    stand.until(lambda: stand.status(dispatch) == "completed")
    stand.until(lambda: "metadata_silent" in stand.events())
    assert stand.events().count("metadata_silent") == 1
