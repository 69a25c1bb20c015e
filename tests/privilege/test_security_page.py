"""docs/security.md says what the templates say: its table of permissions is theirs, line for line."""

from __future__ import annotations

import re
from collections import defaultdict

from fleet_control.act.tenants import GRANTS

from lab.iam.policies import Rule
from lab.iam.roles import Role

from .judge import ACCOUNT, ROOT

SLUGS = ("image-to-video", "face-swap")
Subject = tuple[str, str]
"""On what, under which condition."""


def subject(rule: Rule) -> Subject:
    resource = rule.resource if rule.resource.startswith("arn:aws:s3") else rule.resource.split(":", 5)[-1]
    stand_ins = {ACCOUNT: "<account>", "staging": "<stage>", "-AbCdEf": "-??????"} | dict.fromkeys(SLUGS, "<slug>")
    conditions = ", ".join(f"{key} = {', '.join(values)}" for _, key, values in rule.conditions)
    for value, stands_for in stand_ins.items():
        resource, conditions = resource.replace(value, stands_for), conditions.replace(value, stands_for)
    return resource.removeprefix("arn:aws:s3:::"), conditions


def wearer(role: Role) -> str:
    return role.name.rpartition("/")[2].removesuffix("Role")


def rows(roles: dict[str, Role]) -> list[str]:
    """One line for each set of wearers and what they may do on one thing."""
    granted: dict[tuple[str, Subject], set[str]] = defaultdict(set)
    for role in roles.values():
        for rule in role.own:
            granted[wearer(role), subject(rule)].add(rule.action)
    shared: dict[tuple[str, Subject], list[str]] = defaultdict(list)
    for (who, what), actions in granted.items():
        shared[", ".join(sorted(f"`{action}`" for action in actions)), what].append(f"`{who}`")
    return [
        f"| {', '.join(who)} | {actions} | `{resource}`{f' where {condition}' if condition else ''} |"
        for (actions, (resource, condition)), who in shared.items()
    ]


def test_the_table_of_permissions_is_the_templates(roles: dict[str, Role]) -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    section = page.partition("## Roles")[2].partition("\n## ")[0]
    told = [line for line in section.splitlines() if line.startswith("| `")]
    assert sorted(told) == sorted(rows(roles))


def test_the_policies_that_aws_keeps_are_named(roles: dict[str, Role]) -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    assert {role.name for role in roles.values() if role.managed} == {
        name for name in roles if name.endswith(("FunctionRole", "MachineRole"))
    }
    for policy in ("AWSLambdaBasicExecutionRole", "AWSLambdaVPCAccessExecutionRole", "AWSXrayWriteOnlyAccess"):
        assert policy in page


def test_the_grants_of_the_database_user_are_told() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8").partition("## The database user")[2]
    told = {line.split("|")[1].strip(" `"): line for line in page.splitlines() if line.startswith("| `")}
    assert told.keys() == GRANTS.keys()
    for table, privileges in GRANTS.items():
        assert set(re.findall(r"`(\w+)`", told[table])) - {table} == set(privileges.get("UPDATE", ()))
        assert ("; delete" in told[table]) is ("DELETE" in privileges)
        assert ("; add" in told[table]) is ("INSERT" in privileges)
