"""IAM's verdict on a request, from the statements of identity policies.

Follows the evaluation logic of the IAM user guide for one account without boundaries or organization policies: nothing
is allowed unless a statement says so, and an explicit Deny wins. What is not understood is refused, never skipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

ANY_RESOURCE = "*"
"""The resource of an action that knows none: only a statement on "*" covers it."""


class UnsupportedPolicyError(ValueError):
    """A statement uses something that this evaluator does not know."""


@dataclass(frozen=True)
class Request:
    """One thing somebody wants to do: an IAM action on every one of `resources` (ARNs), with its condition keys."""

    action: str
    resources: tuple[str, ...] = (ANY_RESOURCE,)
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """One action pattern on one resource pattern, under the conditions of its statement."""

    allows: bool
    action: str
    resource: str
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    """(operator, condition key, values)."""

    def covers(self, request: Request, resource: str) -> bool:
        """Does the rule speak about this request on this one of its resources?"""
        return (
            like(self.action.lower(), request.action.lower())
            and arn_like(self.resource, resource)
            and all(holds(*condition, request.context) for condition in self.conditions)
        )

    def covers_any(self, request: Request) -> bool:
        return any(self.covers(request, resource) for resource in request.resources)


def allowed(rules: Iterable[Rule], request: Request) -> bool:
    """Every resource needs an Allow and must meet no Deny."""
    known = tuple(rules)
    return all(_allowed_on(known, request, resource) for resource in request.resources)


def _allowed_on(rules: tuple[Rule, ...], request: Request, resource: str) -> bool:
    speaking = [rule.allows for rule in rules if rule.covers(request, resource)]
    return bool(speaking) and all(speaking)


# Reading policies.


def read(document: Mapping[str, Any]) -> Iterator[Rule]:
    """The rules of a policy document. Raises UnsupportedPolicyError."""
    for statement in as_list(document["Statement"]):
        yield from read_statement(statement)


def read_statement(statement: Mapping[str, Any]) -> Iterator[Rule]:
    unknown = statement.keys() - {"Sid", "Effect", "Action", "Resource", "Condition"}
    if unknown or statement["Effect"] not in ("Allow", "Deny"):
        raise UnsupportedPolicyError(f"{', '.join(sorted(unknown)) or statement['Effect']} in {statement}")
    conditions = tuple(read_conditions(statement.get("Condition", {})))
    for action in as_list(statement["Action"]):
        for resource in as_list(statement["Resource"]):
            if "${" in resource:
                raise UnsupportedPolicyError(f"policy variable in {resource}")
            yield Rule(statement["Effect"] == "Allow", action, resource, conditions)


def read_conditions(block: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for operator, keys in block.items():
        if operator.removeprefix(FOR_ALL_VALUES).removesuffix(IF_EXISTS) not in OPERATORS:
            raise UnsupportedPolicyError(f"condition operator {operator}")
        for key, values in keys.items():
            yield operator, key, tuple(str(value) for value in as_list(values))


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# Matching.


@cache
def _pattern(text: str) -> re.Pattern[str]:
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(char, re.escape(char)) for char in text), re.DOTALL)


def like(pattern: str, text: str) -> bool:
    """`*` is any run of characters, `?` any one; nothing else is special."""
    return _pattern(pattern).fullmatch(text) is not None


def arn_like(pattern: str, arn: str) -> bool:
    """Part by part: a wildcard does not reach over a colon, but in the last of the six parts."""
    if ANY_RESOURCE in (pattern, arn):
        return pattern == ANY_RESOURCE
    wanted, given = pattern.split(":", 5), arn.split(":", 5)
    return len(wanted) == len(given) and all(like(*pair) for pair in zip(wanted, given, strict=True))


IF_EXISTS = "IfExists"
FOR_ALL_VALUES = "ForAllValues:"
"""Every value of the request has to match; where there is none, all of them do. Requests here have one at most."""
OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda wanted, given: wanted == given,
    "StringNotEquals": lambda wanted, given: wanted != given,
    "StringLike": like,
    "StringNotLike": lambda wanted, given: not like(wanted, given),
    "ArnEquals": arn_like,
    "ArnLike": arn_like,
    "ArnNotLike": lambda wanted, given: not arn_like(wanted, given),
    "Bool": lambda wanted, given: wanted.lower() == given.lower(),
}


def holds(operator: str, key: str, values: tuple[str, ...], context: Mapping[str, str]) -> bool:
    """Any of the values, or all of them when the operator is a negation. Keys are compared regardless of case."""
    name = operator.removeprefix(FOR_ALL_VALUES).removesuffix(IF_EXISTS)
    negated = "Not" in name
    given = {known.lower(): value for known, value in context.items()}.get(key.lower())
    if given is None:
        return negated or operator.endswith(IF_EXISTS) or operator.startswith(FOR_ALL_VALUES)
    answers = [OPERATORS[name](wanted, given) for wanted in values]
    return all(answers) if negated else any(answers)
