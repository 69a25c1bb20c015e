"""A job from the poll to its completion, by a real worker process."""

import hashlib
import json

from lab.site.comfyui import OUTPUT_SIZE

from .stand import SLUG, Stand


def test_a_job_is_downloaded_rendered_uploaded_and_completed(stand: Stand) -> None:
    stand.storage.inputs[1] = content = bytes(range(256)) * 20_000
    dispatch = stand.submit(1, 0.3)
    stand.start()
    stand.until(lambda: stand.status(dispatch) == "completed")
    assert stand.events()[:4] == ["started", "registered", "leased", "rendering"]
    assert list(stand.instance().comfyui.inputs.values()) == [(len(content), hashlib.sha256(content).hexdigest())]
    [uploaded] = stand.storage.uploads[1]
    assert uploaded.size == OUTPUT_SIZE
    assert stand.audits(dispatch) == ["poll", "complete"]
    assert stand.end() == 0


def test_a_job_longer_than_its_lease_is_completed_and_never_leased_twice(stand: Stand) -> None:
    dispatch = stand.submit(1, 5.0)
    stand.start("i-1")
    stand.until(lambda: "leased" in stand.events("i-1"))
    stand.start("i-2")
    stand.until(lambda: stand.status(dispatch) == "completed", 15)
    assert stand.audits(dispatch) == ["poll", "complete"]
    assert stand.job(dispatch)["attempts"] == 1
    assert "leased" not in stand.events("i-2")


def test_secrets_tokens_and_signed_urls_are_never_logged(stand: Stand) -> None:
    dispatch = stand.submit(1, 0.1)
    stand.start()
    stand.until(lambda: stand.status(dispatch) == "completed")
    token = json.loads((stand.folder / "i-1" / "state" / "token.json").read_text())["token"]
    log = stand.log("i-1").read_text()
    for secret in (token, 'fleet \\"secret', "Signature=", stand.job(dispatch)["lease_token"]):
        assert secret not in log


def test_jobs_that_run_in_the_cloud_are_left_alone(stand: Stand) -> None:
    elsewhere = stand.backend.submit(SLUG, tenant="acme", tenant_job_id=9, provider="cloud")
    ours = stand.submit(1, 0.1)
    stand.start()
    stand.until(lambda: stand.status(ours) == "completed")
    polls = stand.instance().calls.count("poll")
    stand.until(lambda: stand.instance().calls.count("poll") > polls + 2)
    assert stand.status(elsewhere) == "queued"
