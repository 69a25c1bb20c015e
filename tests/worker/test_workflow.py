"""From a payload to ComfyUI's words and back, as tables."""

from typing import Any

import pytest
from comfyui_worker import workflow
from comfyui_worker.errors import JobFailedError
from comfyui_worker.jobs import Job

LOAD = {"1": {"class_type": "LoadImage", "inputs": {"image": "__INPUT_PATH__", "note": "see __STYLE__ and __STYLE__"}}}


def test_placeholders_are_replaced_wherever_they_stand_and_the_payload_is_left_alone() -> None:
    filled = workflow.graph({"workflow": LOAD}, {"__INPUT_PATH__": 'a"b.png', "__STYLE__": "s.bin"})
    assert filled["1"]["inputs"] == {"image": 'a"b.png', "note": "see s.bin and s.bin"}
    assert LOAD["1"]["inputs"] == {"image": "__INPUT_PATH__", "note": "see __STYLE__ and __STYLE__"}


def test_a_name_is_not_searched_for_placeholders() -> None:
    """Sixteen assets whose placeholders are the digits of a hash would make gigabytes of one letter."""
    names = {digit: f"{digit * 4}{'0123456789abcdef' * 3}.png" for digit in "0123456789abcdef"}
    filled = workflow.graph({"workflow": {"1": {"inputs": {"image": "a"}}}}, names)
    assert filled["1"]["inputs"]["image"] == names["a"]
    filled = workflow.graph({"workflow": {"1": "__A__ __A__B"}}, {"__A__": "one", "__A__B": "other"})
    assert filled["1"] == "one other"


def test_an_empty_placeholder_stands_nowhere() -> None:
    with pytest.raises(JobFailedError, match="empty placeholder"):
        workflow.graph({"workflow": LOAD}, {"": "a.png"})


def test_an_input_can_be_named_by_node_and_field() -> None:
    payload = {"workflow": LOAD, "input_node_id": 1, "input_field": "video"}
    assert workflow.with_input(workflow.graph(payload, {}), payload, "a.mp4")["1"]["inputs"]["video"] == "a.mp4"
    with pytest.raises(JobFailedError, match="no node 7"):
        workflow.with_input({}, {"input_node_id": 7, "input_field": "video"}, "a.mp4")


def file(name: str, kind: str = "output") -> dict[str, str]:
    return {"filename": name, "subfolder": "", "type": kind}


def images(name: str) -> dict[str, Any]:
    return {"images": [file(name)]}


@pytest.mark.parametrize(
    ("payload", "outputs", "chosen"),
    [
        pytest.param({}, {"9": {"gifs": [file("a.mp4")]}}, "a.mp4", id="the only one"),
        pytest.param({}, {"3": {"images": [file("p.png")]}, "9": {"gifs": [file("a.mp4")]}, "12": images("q.png")},
                     "a.mp4", id="a video before pictures"),
        pytest.param({}, {"3": {"images": [file("p.png"), file("q.png")]}}, "q.png", id="the last picture"),
        pytest.param({}, {"3": {"images": [file("p.png", "temp")]}, "9": {"text": ["x"], "videos": [file("a.webm")]}},
                     "a.webm", id="no preview, no text"),
        pytest.param({"output_node_id": 3}, {"3": {"images": [file("p.png")]}, "9": {"gifs": [file("a.mp4")]}},
                     "p.png", id="of the node that the payload names"),
    ],
)  # fmt: skip
def test_which_file_is_the_result(payload: dict[str, Any], outputs: dict[str, Any], chosen: str) -> None:
    assert workflow.output(payload, outputs)["filename"] == chosen


@pytest.mark.parametrize("outputs", [{}, {"9": {"images": [file("p.png", "temp")]}}, {"9": None}])
def test_a_workflow_without_a_result_has_failed(outputs: dict[str, Any]) -> None:
    with pytest.raises(JobFailedError, match="without an output"):
        workflow.output({"output_node_id": "9"}, outputs)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({"status_str": "success", "completed": True, "messages": []}, ""),
        ({}, ""),
        ({"status_str": "error", "messages": [["execution_interrupted", {}]]}, "ComfyUI was interrupted"),
        ({"status_str": "error", "messages": []}, "ComfyUI reports an error without a reason"),
    ],
)
def test_how_a_prompt_ended(status: dict[str, Any], text: str) -> None:
    assert workflow.failure({"status": status}) == text


def test_a_long_reason_is_cut_off() -> None:
    said = workflow.rejection({"error": {"message": "x" * 5000}, "node_errors": {}})
    assert len(said) == workflow.TEXT_LENGTH
    assert said.endswith("…")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"Content-Type": ["video/mp4"], "Host": ["bucket.example"]}, {"Content-Type": "video/mp4"}),
        ({"Content-Type": "video/mp4", "x-amz-acl": []}, {"Content-Type": "video/mp4"}),
        ([], {}),
        (None, {}),
    ],
)
def test_headers_for_the_upload_are_read_as_laravel_signs_them(given: Any, sent: dict[str, str]) -> None:
    job = Job.read({"dispatch_id": 1, "lease_token": "t", "output_url": "u", "output_headers": given})
    assert job.output_headers == sent
