"""A fleet's image is put once; what its operators put later is never taken back by a deployment."""

import json
from pathlib import Path

import pytest
from fleet_control.errors import BadEvent, ImageNotAccepted
from fleet_control.flows.ami_parameter_init import bring_up
from fleet_control.messages.cloudformation import CustomResourceRequest, parse_request

from .recorder import FakeRecorder

SAMPLE = json.loads((Path(__file__).parents[2] / "events" / "ami_parameter_init_create.json").read_text())
NAME = "/bp/staging/ami/image-to-video"


def asking(**properties: str) -> CustomResourceRequest:
    return parse_request(SAMPLE | {"ResourceProperties": SAMPLE["ResourceProperties"] | properties})


class FakeStore:
    """`late` looks find nothing yet, while Systems Manager looks for the image."""

    def __init__(self, held: dict[str, str] | None = None, late: int = 0) -> None:
        self.late, self.held = late, dict(held or {})

    def put_image_once(self, name: str, image_id: str) -> bool:
        if name in self.held:
            return False
        self.held[name] = image_id
        return True

    def exists(self, name: str) -> bool:
        self.late -= 1
        return self.late < 0 and name in self.held


def test_the_first_deployment_puts_the_first_image() -> None:
    store = FakeStore()
    assert bring_up(asking(), store, FakeRecorder()) == {"ParameterName": NAME}
    assert store.held == {NAME: "ami-0123456789abcdef0"}


def test_a_baked_image_survives_an_update_with_another_first_image() -> None:
    store, recorder = FakeStore({NAME: "ami-0aaaaaaaaaaaaaaaa"}), FakeRecorder()
    bring_up(asking(ImageId="ami-0bbbbbbbbbbbbbbbb"), store, recorder)
    assert store.held == {NAME: "ami-0aaaaaaaaaaaaaaaa"}
    assert [decision["reason"] for decision in recorder.decisions] == ["was there already"]


@pytest.mark.parametrize(
    ("name", "value"), [("ImageId", "resolve:ssm:/x"), ("ImageId", ""), ("ParameterName", "ami"), ("ParameterName", "")]
)
def test_what_is_no_image_or_no_name_is_refused_by_name(name: str, value: str) -> None:
    store = FakeStore()
    with pytest.raises(BadEvent, match=name):
        bring_up(asking(**{name: value}), store, FakeRecorder())
    assert store.held == {}


def test_the_fleet_waits_until_its_parameter_can_be_read() -> None:
    waits: list[float] = []
    assert bring_up(asking(), FakeStore(late=3), FakeRecorder(), waits.append) == {"ParameterName": NAME}
    assert waits == [2.0, 2.0, 2.0]


def test_an_image_that_nobody_finds_fails_by_its_name_before_the_function_is_cut_off() -> None:
    waits: list[float] = []
    recorder = FakeRecorder()
    with pytest.raises(ImageNotAccepted, match=r"/bp/staging/ami/image-to-video .* ami-0123456789abcdef0"):
        bring_up(asking(), FakeStore(late=99), recorder, waits.append)
    assert sum(waits) < 30
    assert recorder.decisions == []
