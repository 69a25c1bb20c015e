"""Whatever arrives: a typed message or a BadEvent that says where, no other exception, and no event in a log."""

from __future__ import annotations

import copy
import io
import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fleet_control.act import cloudformation
from fleet_control.errors import BadEvent, UnknownEvent
from fleet_control.flows.reconcile import Result
from fleet_control.messages.alarm import parse_alarm
from fleet_control.messages.cloudformation import (
    AmiParameter,
    FleetSecret,
    TenantPools,
    parse_properties,
    parse_request,
)
from fleet_control.messages.nudge import parse_job_queued, parse_nudge
from fleet_control.messages.rollout import parse_rollout
from fleet_control.messages.schedule import parse_metrics_schedule
from fleet_control.messages.spot import parse_spot
from fleet_control.messages.tasks import parse_scale_in
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.contract.handlers import Context, load

from .places import MARK, STEADY

SAMPLES: dict[str, Any] = {
    path.stem: json.loads(path.read_text()) for path in (Path(__file__).parents[2] / "events").glob("*.json")
}
TOLD = {"id", "RequestId", "execution", "MessageId", "RequestType"}
"""Said in logs on purpose: what ties an invocation to its cause, and a request nobody understands."""

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        [MARK, "", "0", "-1", "null", "{}", f'{{"AlarmName": "{MARK}"}}', "9" * 5000, "2026-13-45T99:00:00Z"]
    ),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["step", "Records", "Sns", "detail", "drain", "notice", "source", "x"]), inner
        )
    ),
    max_leaves=8,
)
Path_ = tuple[str | int, ...]


def paths(node: Any, at: Path_ = ()) -> Iterator[Path_]:
    """Where something stands in the event, containers included."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*at, key)
        yield from paths(value, (*at, key))


@st.composite
def mutated(draw: st.DrawFn, prefix: str = "") -> Any:
    """A sample with one to three places replaced, taken out or doubled. A mark stands beside everything known."""
    event = copy.deepcopy(SAMPLES[draw(st.sampled_from(sorted(s for s in SAMPLES if s.startswith(prefix))))])
    event["mark"] = MARK
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(list(paths(event))))
        holder = event
        for key in way:
            holder = holder[key]
        change = draw(st.sampled_from(["replace", "remove", "wrap"]))
        if change == "remove":
            del holder[last]
        elif last not in TOLD:
            holder[last] = draw(JSON) if change == "replace" else [holder[last]]
        if not list(paths(event)):
            break
    return event


def properties(model: type[BaseModel]) -> Callable[[Any], object]:
    return lambda event: parse_properties(model, parse_request(event))


PARSERS: dict[str, Callable[[Any], object]] = {
    "nudge": parse_nudge,
    "job queued": lambda event: parse_job_queued(json.dumps(event)),
    "alarm": parse_alarm,
    "scale-in": parse_scale_in,
    "spot": parse_spot,
    "schedule": parse_metrics_schedule,
    "rollout": parse_rollout,
    "request": parse_request,
    "tenant pools": properties(TenantPools),
    "fleet secret": properties(FleetSecret),
    "image parameter": properties(AmiParameter),
}
MADE: dict[str, type[BaseModel]] = {
    "tenant_pool_init": TenantPools,
    "fleet_secret_init": FleetSecret,
    "ami_parameter_init": AmiParameter,
}
"""What a custom resource's function reads of its properties."""


def outcome(parse: Callable[[Any], object], event: Any) -> str:
    """What is said of the event: nothing when it is understood. Any exception but these two fails the test."""
    try:
        parse(event)
    except (BadEvent, UnknownEvent) as error:
        assert len(str(error)) < 1_000
        assert str(error)
        return "".join(traceback.format_exception(error, limit=0))
    return ""


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS.keys())
@STEADY
@given(event=JSON)
def test_anything_is_a_message_or_a_bad_event(parse: Callable[[Any], object], event: Any) -> None:
    assert MARK not in outcome(parse, event)


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS.keys())
@STEADY
@given(event=mutated())
def test_a_sample_with_faults_is_a_message_or_a_bad_event(parse: Callable[[Any], object], event: Any) -> None:
    assert MARK not in outcome(parse, event)


@pytest.fixture(scope="module")
def nobody_listens() -> Iterator[None]:
    """Answers to CloudFormation are taken without leaving this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cloudformation, "urlopen", lambda request, timeout: nullcontext())
        yield


def wired(function: str) -> tuple[ModuleType, io.StringIO]:
    """A handler that parses, counts, logs and answers as ever; behind it stands nothing. And where its log goes."""
    app, log = load(function), io.StringIO()
    app.telemetry._service = f"fuzzed-{function}"
    stand_ins: dict[str, Callable[..., Any]] = {
        "ports": lambda: None,
        "reconcile": lambda ports, trigger, about: Result("acted", unknown=len(about)),
        "publish": lambda schedule, ports: {"published": 0},
        "scale_to_zero": lambda ports, alarm: {"outcome": "ignored", "reason": "", "started": []},
        "scale_in": lambda ports, task: {"next": "done"},
        "receive": lambda ports, message: {"outcome": "ignored"},
        "respond": lambda ports, message: {"next": "done", "requeued": 1},
        "survey": lambda ports: {"outcome": "surveyed"},
        "look": lambda ports, task: {"next": "done"},
        "client": lambda service: None,
        "Parameters": lambda client: None,
    }
    if model := MADE.get(function):
        stand_ins["bring_up"] = lambda request, *_: {"read": str(bool(parse_properties(model, request)))}
    for name, stand_in in stand_ins.items():
        if hasattr(app, name) and not (model and name == "respond"):
            setattr(app, name, stand_in)
    return app, log


FUNCTIONS = sorted(path.parent.name for path in (Path(__file__).parents[2] / "functions").glob("*/app.py"))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.usefixtures("nobody_listens")
def test_a_handler_answers_or_refuses_and_never_logs_the_event(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGE", "staging")
    app, log = wired(function)
    refused: list[bool] = []

    @settings(STEADY, max_examples=80)
    @given(event=st.one_of(mutated(prefix=function), JSON))
    def deliver(event: Any) -> None:
        began = log.tell()
        with redirect_stdout(log):
            try:
                answer = app.handler(event, Context())
            except BadEvent:
                refused.append(True)
            else:
                json.dumps(answer)
                refused.append(False)
        written = log.getvalue()[began:]
        assert MARK not in written
        assert not refused[-1] or '"reason":"bad_event"' in written

    deliver()
    assert set(refused) == {True, False}, "the fuzzing never tried both"
