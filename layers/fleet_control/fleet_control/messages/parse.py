"""From a raw event to a typed message. It knows none of them: a function imports its own and builds no other."""

from __future__ import annotations

from typing import Any, TypeVar, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from fleet_control.errors import BadEvent, UnknownEvent

T = TypeVar("T")

KIND = frozenset({"step", "Records", "source", "detail-type"})
"""The fields by which messages are told apart."""


def parse(adapter: TypeAdapter[T], kinds: tuple[type[BaseModel], ...], event: Any) -> T:
    """`kinds` are the models of the adapter. Raises BadEvent, UnknownEvent."""
    try:
        return adapter.validate_python(event)
    except ValidationError as error:
        # Not chained: pydantic's text would carry the event into the log.
        if _says_a_kind(event) and not any(_is_of(model, event) for model in kinds):
            raise UnknownEvent("nothing here knows this step, or this source and detail-type") from None
        raise BadEvent(explain(error)) from None


def _says_a_kind(event: Any) -> bool:
    if not isinstance(event, dict):
        return False
    return isinstance(event.get("step"), str) or all(isinstance(event.get(k), str) for k in ("source", "detail-type"))


def _is_of(model: type[BaseModel], event: dict[str, Any]) -> bool:
    """Whether the event has the values by which this model is told apart."""
    told = {field.alias or name: get_args(field.annotation) for name, field in model.model_fields.items()}
    return all(
        event.get(name) in values if name != "Records" else name in event
        for name, values in told.items()
        if name in KIND
    )


def explain(error: ValidationError) -> str:
    """Where and why, without the event itself: it may carry what no log should."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'event'}: {e['msg']}" for e in _of_its_kind(found)[:5])


def _of_its_kind(found: list[ErrorDetails]) -> list[ErrorDetails]:
    """Of a union every member complains. Only those count that the event's own kind does not rule out, if any."""
    ruled_out = {fault["loc"][0] for fault in found if len(fault["loc"]) == 2 and fault["loc"][1] in KIND}
    return [fault for fault in found if not fault["loc"] or fault["loc"][0] not in ruled_out] or found
