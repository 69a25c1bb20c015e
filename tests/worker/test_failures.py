"""What breaks while a job runs: no job is lost, none is finished twice."""

import signal
import threading

import pytest

from lab.mariadb import MariaDb
from lab.site import comfyui
from lab.site.storage import graph

from .stand import Stand

BROKEN = 1


def completed_once_by(stand: Stand, dispatch: int, name: str) -> bool:
    found = stand.rows(
        "SELECT worker_identifier AS worker FROM worker_audit_logs WHERE dispatch_id = %s AND event = 'complete'",
        dispatch,
    )
    return [row["worker"] for row in found] == [name]


# -- the worker ------------------------------------------------------------------------------------------------------


def test_the_job_of_a_killed_worker_is_done_by_another_once_its_lease_has_run_out(stand: Stand) -> None:
    dispatch = stand.submit(1, 60)
    stand.start("i-1")
    stand.until(lambda: "rendering" in stand.events("i-1"))
    stand.end("i-1", signal.SIGKILL)
    stand.write("UPDATE lab.jobs SET seconds = 0.1")
    stand.start("i-2")
    stand.until(lambda: stand.status(dispatch) == "completed")
    assert completed_once_by(stand, dispatch, "i-2")


def test_a_worker_that_comes_back_gives_its_old_job_back_at_once(stand: Stand) -> None:
    dispatch = stand.submit(1, 60)
    stand.start()
    stand.until(lambda: "rendering" in stand.events())
    stand.end(number=signal.SIGKILL)
    stand.write("UPDATE ai_job_dispatches SET lease_expires_at = UTC_TIMESTAMP() + INTERVAL 5 HOUR")
    stand.write("UPDATE lab.jobs SET seconds = 0.1")
    stand.start()
    stand.until(lambda: stand.status(dispatch) == "completed")
    assert stand.audits(dispatch) == ["poll", "requeued", "poll", "complete"]
    assert stand.job(dispatch)["attempts"] == 1


def test_a_worker_cut_off_until_its_job_was_given_to_another_is_fenced_off_and_serves_on(stand: Stand) -> None:
    dispatch = stand.submit(1, 60)
    stand.start("i-1")
    stand.until(lambda: "rendering" in stand.events("i-1"))
    stand.instance("i-1").cut_off = True
    stand.write("UPDATE lab.jobs SET seconds = 0.1")
    stand.start("i-2")
    stand.until(lambda: stand.status(dispatch) == "completed")
    stand.end("i-2")
    stand.instance("i-1").cut_off = False
    stand.until(lambda: "fenced" in stand.events("i-1"))
    stand.until(lambda: stand.instance("i-1").comfyui.rendering() == 0)
    assert completed_once_by(stand, dispatch, "i-2")
    later = stand.submit(2, 0.1)
    stand.until(lambda: completed_once_by(stand, later, "i-1"))


def test_a_result_made_while_cut_off_is_thrown_away(stand: Stand) -> None:
    dispatch = stand.submit(1, 1.0)
    stand.start("i-1")
    stand.until(lambda: "rendering" in stand.events("i-1"))
    stand.instance("i-1").cut_off = True
    stand.start("i-2")
    stand.until(lambda: stand.status(dispatch) == "completed")
    stand.until(lambda: stand.instance("i-1").comfyui.rendering() == 0)
    stand.instance("i-1").cut_off = False
    stand.until(lambda: "fenced" in stand.events("i-1"))
    assert [upload.instance for upload in stand.storage.uploads[1]] == ["i-2"]
    assert completed_once_by(stand, dispatch, "i-2")


def test_a_backend_that_was_away_in_the_middle_of_a_job_is_told_in_the_end(stand: Stand, mariadb: MariaDb) -> None:
    dispatch = stand.submit(1, 0.8)
    stand.start()
    stand.until(lambda: "rendering" in stand.events())
    outage = threading.Thread(target=mariadb.stop_for, args=(1.5,))
    outage.start()
    outage.join()
    stand.until(lambda: stand.status(dispatch) == "completed")
    assert completed_once_by(stand, dispatch, "i-1")


# -- ComfyUI ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [comfyui.HUNG, comfyui.DEAD])
def test_comfyui_gone_for_good_gives_the_job_to_another_and_ends_the_worker(stand: Stand, state: str) -> None:
    dispatch = stand.submit(1, 60)
    stand.start("i-1")
    stand.until(lambda: "rendering" in stand.events("i-1"))
    stand.instance("i-1").comfyui.set_state(state)
    stand.write("UPDATE lab.jobs SET seconds = 0.1")
    assert stand.exit_code("i-1") == BROKEN
    assert stand.audits(dispatch) == ["poll", "requeued"]
    stand.start("i-2")
    stand.until(lambda: stand.status(dispatch) == "completed")
    assert completed_once_by(stand, dispatch, "i-2")
    assert stand.job(dispatch)["attempts"] == 1


def test_a_comfyui_that_comes_back_renders_the_prompt_again(stand: Stand) -> None:
    dispatch = stand.submit(1, 2.0)
    stand.start()
    stand.until(lambda: "rendering" in stand.events())
    stand.instance().comfyui.set_state(comfyui.DEAD)
    stand.instance().comfyui.restart()
    stand.instance().comfyui.set_state(comfyui.UP)
    stand.until(lambda: stand.status(dispatch) == "completed")
    assert "comfyui_restarted" in stand.events()
    assert stand.audits(dispatch) == ["poll", "complete"]


def test_a_workflow_that_takes_comfyui_down_twice_fails_and_is_not_passed_on(stand: Stand) -> None:
    stand.instance().comfyui.deadly = 2
    dispatch = stand.submit(1, 1.0)
    stand.start()
    stand.until(lambda: stand.status(dispatch) == "failed")
    assert stand.job(dispatch)["last_error"] == "ComfyUI stopped working 2 times while it ran this workflow"
    after = stand.submit(2, 0.1)
    stand.until(lambda: stand.status(after) == "completed")


def test_an_idle_worker_whose_comfyui_died_asks_for_no_job_and_ends(stand: Stand) -> None:
    stand.start()
    stand.until(lambda: "registered" in stand.events())
    stand.instance().comfyui.set_state(comfyui.DEAD)
    dispatch = stand.submit(1, 0.1)
    assert stand.exit_code() == BROKEN
    assert stand.status(dispatch) in ("queued", "completed")
    assert stand.audits(dispatch) in ([], ["poll", "complete"])


def test_a_job_beyond_its_time_fails_and_leaves_comfyui_free(stand: Stand) -> None:
    dispatch = stand.submit(1, 60)
    stand.start(JOB_TIMEOUT_SECONDS="1")
    stand.until(lambda: stand.status(dispatch) == "failed")
    assert stand.job(dispatch)["last_error"] == "the workflow did not end within 1 seconds"
    assert stand.instance().comfyui.rendering() == 0


def test_a_prompt_that_cannot_be_stopped_is_the_machines_fault(stand: Stand) -> None:
    stand.instance().comfyui.stubborn = True
    dispatch = stand.submit(1, 60)
    stand.start(JOB_TIMEOUT_SECONDS="0.5")
    assert stand.exit_code() == BROKEN
    assert stand.audits(dispatch) == ["poll", "requeued"]


# -- the job ---------------------------------------------------------------------------------------------------------


def test_what_a_node_says_is_what_the_customer_reads(stand: Stand) -> None:
    workflow = graph(0.1)
    workflow["2"]["inputs"]["error"] = "Allocation on device\nTraceback: /opt/comfyui/execution.py"
    dispatch = stand.submit(1, 0.1, workflow=workflow)
    stand.start()
    stand.until(lambda: stand.status(dispatch) == "failed")
    assert stand.job(dispatch)["last_error"] == "node 2 (LabRender) failed: Allocation on device"


def test_a_workflow_that_comfyui_refuses_fails_with_its_reasons(stand: Stand) -> None:
    workflow = graph(0.1)
    workflow["1"]["inputs"]["image"] = "nowhere.png"
    dispatch = stand.submit(1, 0.1, workflow=workflow)
    stand.start()
    stand.until(lambda: stand.status(dispatch) == "failed")
    said = stand.job(dispatch)["last_error"]
    assert said.startswith("ComfyUI refuses the workflow: Prompt outputs failed validation; node 1 (LoadImage): ")
    assert said.endswith("Invalid image file: nowhere.png")


@pytest.mark.parametrize("payload", [{"workflow": None}, {"workflow": "none"}, {"assets": [7]}])
def test_a_payload_that_makes_no_sense_fails_and_the_next_job_is_done(stand: Stand, payload: dict[str, object]) -> None:
    broken = stand.submit(1, 0.1)
    stand.storage.payload = lambda job, seconds, urls: (  # type: ignore[method-assign]
        {"workflow": graph(seconds), **(payload if job == 1 else {})}
    )
    good = stand.submit(2, 0.1)
    stand.start()
    stand.until(lambda: stand.status(good) == "completed")
    assert stand.status(broken) == "failed"


def test_storage_that_is_away_for_a_while_is_waited_for(stand: Stand) -> None:
    stand.storage.away = True
    dispatch = stand.submit(1, 0.1)
    stand.start()
    stand.until(lambda: "leased" in stand.events())
    stand.storage.away = False
    stand.until(lambda: stand.status(dispatch) in ("completed", "failed"))
    assert (stand.status(dispatch), stand.job(dispatch)["attempts"]) == ("completed", 1)


def test_an_input_whose_address_has_expired_fails_without_showing_it(stand: Stand) -> None:
    stand.storage.valid_seconds = -1
    dispatch = stand.submit(1, 0.1)
    stand.start()
    stand.until(lambda: stand.status(dispatch) == "failed")
    said = stand.job(dispatch)["last_error"]
    assert said == "the input could not be transferred: storage answers HTTP 403"


def test_a_worker_killed_while_it_completes_does_not_give_back_what_may_be_done(stand: Stand) -> None:
    """The backend keeps the token on a completed row: given back, the job would be done twice."""
    stand.instance().lost_answers = frozenset({"complete"})
    dispatch = stand.submit(1, 0.1)
    stand.start()
    stand.until(lambda: stand.status(dispatch) == "completed")
    stand.end(number=signal.SIGKILL)
    stand.instance().lost_answers = frozenset()
    after = stand.submit(2, 0.1)
    stand.start()
    stand.until(lambda: stand.status(after) == "completed")
    assert stand.status(dispatch) == "completed"
    assert "requeued" not in stand.audits(dispatch)


def test_after_an_outage_the_first_job_handed_out_is_done(stand: Stand, mariadb: MariaDb) -> None:
    """No lease is made whose answer gets lost, as long as the database answers."""
    first = stand.submit(1, 0.1)
    stand.start()
    stand.until(lambda: stand.status(first) == "completed")
    mariadb.stop_for(0.5)
    stand.backend.close()
    stand.payloads.close()
    second = stand.submit(2, 0.1)
    stand.until(lambda: stand.status(second) == "completed")
    assert stand.job(second)["attempts"] == 1
