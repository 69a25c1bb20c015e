"""No secret leaves its place: everything that a run produced is searched for the secrets it ran with."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse

from lab.evidence import ALLOWED, SIGNED_ADDRESS
from lab.iam.roles import Stacks
from lab.render import is_looked_up
from lab.secrecy import holders

from .conftest import Run
from .judge import ROOT


def where(run: Run) -> dict[str, list[str]]:
    """Files in which each secret of the run is found."""
    found = [holders(run.directory / top, run.markers) for top in ("run", "evidence")]
    return {what: [*found[0][what], *found[1][what]] for what in run.markers}


SECRETS = [
    "password of the master",
    "password of root",
    "password of the backend",
    "password of fleet_control",
    "fleet secret",
    "wrong password",
    "secret that is not JSON",
    "secret without a host",
    "secret of another user",
]


@pytest.fixture(scope="module")
def found(run: Run) -> dict[str, list[str]]:
    return where(run)


@pytest.mark.parametrize("what", SECRETS)
def test_no_secret_is_found_in_anything_the_run_produced(found: dict[str, list[str]], what: str) -> None:
    assert found[what] == []


def test_the_signed_address_goes_no_further_than_the_event(found: dict[str, list[str]]) -> None:
    assert found[SIGNED_ADDRESS] == list(ALLOWED[SIGNED_ADDRESS])


def test_every_secret_of_the_run_is_searched_for(run: Run) -> None:
    assert run.markers.keys() == {*SECRETS, SIGNED_ADDRESS}
    assert all(len(secret) >= 12 for secret in run.markers.values())


def test_the_search_had_something_to_search(run: Run) -> None:
    """Every kind of output is there and speaks of the run: logs, traces, histories, answers, queues, the report."""
    assert {path.stem for path in run.produced() if path.suffix == ".log"} > {"bp-staging-reconcile", "mariadbd"}
    traces = [json.loads(line) for line in (run.directory / "run" / "traces.jsonl").read_text().splitlines()]
    names = {trace["name"] for trace in traces}
    assert {"secretsmanager", "execute"} < names
    assert any(name.startswith("## ") for name in names)  # the handlers themselves
    histories = run.evidence("histories.json")
    assert {h["execution"].split(":")[6] for h in histories} == {
        "bp-staging-ami-rollout",
        "bp-staging-fleet-cycle",
        "bp-staging-scale-in",
        "bp-staging-spot-interruption",
    }
    assert len(run.evidence("environments.json")["deployed"]) == 9
    assert len(run.evidence("queues.json")) == 9 + 1  # what each function could not read, and a nudge
    assert (run.directory / "evidence" / "report.html").stat().st_size > 10_000


def test_each_refusal_says_what_is_wrong_with_the_secret_and_not_what_it_is(run: Run) -> None:
    wrong_password, not_json, without_host, another_user = run.evidence("refusals.json")
    assert "user or password refused" in wrong_password
    assert "/bp/staging/rds/master-credentials is not JSON" in not_json
    assert "missing or wrong: host" in without_host
    assert "is not of the user fleet_control" in another_user


def test_functions_are_told_where_a_secret_is_and_never_what_it_is(stacks: Stacks) -> None:
    resources = [resource for stack in stacks.values() for resource in stack.values()]
    functions = [resource["Properties"] for resource in resources if resource["Type"] == "AWS::Lambda::Function"]
    assert len(functions) == 9
    for variables in (function["Environment"]["Variables"] for function in functions):
        suspicious = {name for name in variables if re.search("SECRET|PASSWORD|TOKEN|KEY", name)}
        assert suspicious <= {"DB_SECRET_ID"}
        assert variables["DB_SECRET_ID"].startswith("/bp/staging/rds/")


TEMPLATES = [ROOT / "template.yaml", *sorted((ROOT / "stacks").glob("*.yaml"))]
HOLDS_ONE = re.compile(r"(Password|Secret|Token|Credential|Key)(?!s?(Id|Arn|Name|Path))", re.IGNORECASE)
LOOKS_LIKE_ONE = re.compile(r"(?=[\w+/=-]*\d)(?=[\w+/=-]*[A-Za-z])[\w+/=]{20,}|://[^/@\s]+:[^/@\s]+@")


def carried(values: Mapping[str, Any]) -> list[str]:
    """Parameters with a value that is a secret by their name, or by the look of it."""
    given = {name: str(value) for name, value in values.items() if value != ""}
    return [name for name, value in given.items() if HOLDS_ONE.search(name) or LOOKS_LIKE_ONE.search(value)]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_parameter_has_a_secret_as_its_default(path: Path) -> None:
    """The default of a parameter that is looked up is an address, not a value."""
    declared = yaml_parse(path.read_text(encoding="utf-8")).get("Parameters", {})
    values = {name: spec for name, spec in declared.items() if not is_looked_up(spec)}
    assert carried({name: spec["Default"] for name, spec in values.items() if "Default" in spec}) == []


def test_the_settings_of_deployments_give_no_secret() -> None:
    settings = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    given = [
        dict(override.split("=", 1) for override in stage["deploy"]["parameters"]["parameter_overrides"])
        for name, stage in settings.items()
        if name in ("staging", "production")
    ]
    assert len(given) == 2
    assert [carried(values) for values in given] == [[], []]


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("MasterPassword", "hunter2", True),
        ("ApiToken", "x", True),
        ("MasterPassword", "", False),
        ("MasterSecretArn", "arn:aws:secretsmanager:us-east-1:1:secret:x", False),
        ("Note", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY", True),
        ("Url", "https://me:hunter2@example.com", True),
        ("ApiBaseUrl", "https://staging-api.example.com", False),
        ("Types", "g4dn.xlarge,g5.xlarge", False),
    ],
)
def test_a_secret_among_parameters_would_be_seen(name: str, value: str, found: bool) -> None:
    assert carried({name: value}) == ([name] if found else [])
