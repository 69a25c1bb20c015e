"""How a worker gets its identity and keeps it."""

import signal
import stat
from collections.abc import Callable

from lab.site import comfyui

from .stand import SLUG, Stand

HOPELESS = 78


def test_a_throttled_worker_backs_off_and_gets_in(make_stand: Callable[..., Stand]) -> None:
    stand = make_stand(registrations=1)
    stand.start("i-1")
    stand.until(lambda: stand.workers() == ["i-1"])
    stand.start("i-2")
    stand.until(lambda: stand.events("i-2").count("throttled") == 2)
    stand.write("UPDATE worker_audit_logs SET created_at = created_at - INTERVAL 2 MINUTE")
    stand.until(lambda: stand.workers() == ["i-1", "i-2"])
    tries = stand.instance("i-2").calls.count("register")
    assert tries <= 4, "it hammered at the door"


def test_a_full_table_is_waited_for(stand: Stand) -> None:
    stand.write(
        "INSERT INTO comfy_ui_workers (worker_id, token_hash, registration_source) "
        "SELECT CONCAT('i-x', seq), CONCAT('hash', seq), 'fleet' FROM seq_1_to_50"
    )
    stand.start()
    stand.until(lambda: "throttled" in stand.events())
    stand.write("DELETE FROM comfy_ui_workers")
    stand.until(lambda: "registered" in stand.events())
    assert stand.workers() == ["i-1"]


def test_a_restart_goes_on_with_the_token_on_disk(stand: Stand) -> None:
    stand.start()
    stand.until(lambda: "registered" in stand.events())
    kept = stand.folder / "i-1" / "state" / "token.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stand.end(number=signal.SIGKILL) == -signal.SIGKILL
    dispatch = stand.submit(1, 0.1)
    stand.start()
    stand.until(lambda: stand.status(dispatch) == "completed")
    assert "resumed" in stand.events()
    assert stand.instance().calls.count("register") == 1


def test_known_without_a_token_on_disk_it_says_so_and_is_not_restarted(stand: Stand) -> None:
    stand.start()
    stand.until(lambda: "registered" in stand.events())
    stand.end(number=signal.SIGKILL)
    (stand.folder / "i-1" / "state" / "token.json").unlink()
    stand.start()
    assert stand.exit_code() == HOPELESS
    assert "has to be replaced" in stand.said()[-1]["error"]
    assert stand.workers() == ["i-1"], "nobody can deregister it without its token"


def test_a_worker_whose_row_was_removed_registers_again(stand: Stand) -> None:
    stand.start()
    stand.until(lambda: "registered" in stand.events())
    stand.write("DELETE FROM worker_workflows")
    stand.write("DELETE FROM comfy_ui_workers")
    stand.until(lambda: stand.workers() == ["i-1"])
    dispatch = stand.submit(1, 0.1)
    stand.until(lambda: stand.status(dispatch) == "completed")
    assert stand.instance().calls.count("register") == 2


def test_a_token_of_another_instance_counts_as_none(stand: Stand) -> None:
    stand.start("i-1")
    stand.until(lambda: "registered" in stand.events("i-1"))
    stand.start("i-2", STATE_DIRECTORY=str(stand.folder / "i-1" / "state"))  # an image made of i-1's disk
    stand.until(lambda: stand.workers() == ["i-1", "i-2"])
    assert stand.instance("i-2").calls[0] == "register"
    assert "resumed" not in stand.events("i-2")


def test_a_wrong_secret_and_an_unknown_workflow_are_not_tried_again(stand: Stand) -> None:
    stand.start("i-1", FLEET_SECRET="wrong")
    stand.start("i-2", WORKFLOW_SLUGS=f"{SLUG},nobody-knows")
    for name in ("i-1", "i-2"):
        assert stand.exit_code(name) == HOPELESS
        assert stand.instance(name).calls == ["register"]


def test_nobody_registers_before_comfyui_answers(stand: Stand) -> None:
    stand.instance().comfyui.set_state(comfyui.DEAD)
    stand.start(COMFYUI_PATIENCE_SECONDS="10")
    stand.until(lambda: stand.instance().metadata.asked > 1)
    assert stand.instance().calls == []
    stand.instance().comfyui.set_state(comfyui.UP)
    stand.until(lambda: stand.workers() == ["i-1"])


def two_more_polls(stand: Stand) -> None:
    """The second shows that the first was answered."""
    polls = stand.instance().calls.count("poll")
    stand.until(lambda: stand.instance().calls.count("poll") > polls + 1)


def test_a_drained_worker_polls_on_and_gets_nothing(stand: Stand) -> None:
    stand.start()
    stand.until(lambda: "registered" in stand.events())
    stand.write("UPDATE comfy_ui_workers SET is_draining = 1")
    two_more_polls(stand)
    dispatch = stand.submit(1, 0.1)
    two_more_polls(stand)
    assert stand.status(dispatch) == "queued"
