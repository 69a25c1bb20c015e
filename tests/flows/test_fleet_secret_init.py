"""The fleet's secret is put once, and never seen again."""

import json
import re
from pathlib import Path

import pytest
from fleet_control.errors import BadEvent
from fleet_control.flows.fleet_secret_init import bring_up, random_secret
from fleet_control.messages.cloudformation import parse_request

from .recorder import FakeRecorder

CREATE = parse_request(json.loads((Path(__file__).parents[2] / "events" / "fleet_secret_init_create.json").read_text()))


class FakeStore:
    def __init__(self) -> None:
        self.held: dict[str, str] = {}

    def put_secret_once(self, name: str, value: str) -> bool:
        return self.held.setdefault(name, value) == value


def test_the_secret_is_put_under_the_name_asked_for() -> None:
    store = FakeStore()
    assert bring_up(CREATE, store, FakeRecorder()) == {"ParameterName": "/bp/staging/fleet-secret"}
    assert list(store.held) == ["/bp/staging/fleet-secret"]


def test_a_second_delivery_leaves_the_first_value() -> None:
    store, recorder = FakeStore(), FakeRecorder()
    bring_up(CREATE, store, recorder, lambda: "first")
    bring_up(CREATE, store, recorder, lambda: "second")
    assert store.held == {"/bp/staging/fleet-secret": "first"}
    assert [decision["reason"] for decision in recorder.decisions] == ["put now", "was there already"]


def test_the_value_is_neither_returned_nor_recorded() -> None:
    recorder = FakeRecorder()
    data = bring_up(CREATE, FakeStore(), recorder, lambda: "hunter2")
    assert "hunter2" not in repr(data) + repr(recorder.decisions)


def test_secrets_are_random_long_and_safe_to_pass_on() -> None:
    found = {random_secret() for _ in range(100)}
    assert len(found) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{64}", value) for value in found)


def test_a_request_without_a_name_puts_nothing() -> None:
    store = FakeStore()
    with pytest.raises(BadEvent, match="ParameterName"):
        bring_up(parse_request({"RequestType": "Create"}), store, FakeRecorder())
    assert store.held == {}
