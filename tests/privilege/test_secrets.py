"""No secret leaves its place: everything that a run produced is searched for the secrets it ran with."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest

from lab.iam.roles import Stacks

from .conftest import Run
from .judge import ROOT

SIGNATURE = "signature of CloudFormation's URL"
EVENTS_THEMSELVES = {"invocations.jsonl"}
"""What CloudFormation sends holds its signed address; it must go no further."""


def spellings(secret: str) -> list[bytes]:
    """The secret as it may turn up: plain, in a URL, in hexadecimal, and in Base64 wherever it starts in the text."""
    raw = secret.encode()
    encoded = [base64.b64encode(b"x" * shift + raw)[(shift + 2) * 4 // 3 : -4] for shift in range(3)]
    return [raw, quote(secret, safe="").encode(), raw.hex().encode(), *encoded]


def holders(run: Run, what: str) -> list[str]:
    """Files in which this secret of the run is found."""
    wanted = spellings(run.markers[what])
    return [path.name for path in run.produced() if any(form in path.read_bytes() for form in wanted)]


SECRETS = [
    "password of the master",
    "password of fleet_control",
    "fleet secret",
    "wrong password",
    "secret that is not JSON",
    "secret without a host",
    "secret of another user",
]


@pytest.mark.parametrize("what", SECRETS)
def test_no_secret_is_found_in_anything_the_run_produced(run: Run, what: str) -> None:
    assert holders(run, what) == []


def test_the_signed_address_goes_no_further_than_the_event(run: Run) -> None:
    assert set(holders(run, SIGNATURE)) == EVENTS_THEMSELVES


def test_every_secret_of_the_run_is_searched_for(run: Run) -> None:
    assert run.markers.keys() == {*SECRETS, SIGNATURE}
    assert all(len(secret) >= 12 for secret in run.markers.values())


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_the_search_finds_what_is_hidden_in_an_encoding(tmp_path: Path, before: str) -> None:
    secret = "marked0123456789abcdef"
    (tmp_path / "run").mkdir()
    (tmp_path / "markers.json").write_text(json.dumps({"it": secret}))
    for name, text in {
        "plain": f"{before}{secret} etc",
        "base64": base64.b64encode(f"{before}{secret} etc".encode()).decode(),
        "hex": (before + secret).encode().hex(),
    }.items():
        (tmp_path / "run" / name).write_text(text)
    (tmp_path / "run" / "innocent").write_text(base64.b64encode(f"{before}something else".encode()).decode())
    assert sorted(holders(Run(tmp_path), "it")) == ["base64", "hex", "plain"]


def test_the_search_had_something_to_search(run: Run) -> None:
    """Every kind of output is there and speaks of the run: logs, traces, histories, answers, queues, the report."""
    assert {path.stem for path in run.produced() if path.suffix == ".log"} > {"bp-staging-reconcile", "mariadbd"}
    traces = [json.loads(line) for line in (run.directory / "evidence" / "traces.jsonl").read_text().splitlines()]
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
    assert len(run.evidence("queues.json")) == 7
    assert (run.directory / "evidence" / "report.html").stat().st_size > 10_000


def test_each_refusal_says_what_is_wrong_with_the_secret_and_not_what_it_is(run: Run) -> None:
    wrong_password, not_json, without_host, another_user = run.evidence("refusals.json")
    assert "user or password refused" in wrong_password
    assert "/bp/staging/rds/master-credentials is not JSON" in not_json
    assert "missing or wrong: host" in without_host
    assert "is not of the user fleet_control" in another_user


def test_functions_are_told_where_a_secret_is_and_never_what_it_is(stacks: Stacks) -> None:
    for resource in stacks[""].values():
        if resource["Type"] == "AWS::Lambda::Function":
            variables = resource["Properties"]["Environment"]["Variables"]
            suspicious = {name for name in variables if re.search("SECRET|PASSWORD|TOKEN|KEY", name)}
            assert suspicious <= {"DB_SECRET_ID"}
            assert variables["DB_SECRET_ID"].startswith("/bp/staging/rds/")


CARRIER = re.compile(r"  \w*(Password|Secret|Token|Credential)\w*(?<!Arn): +\{ *Type")
"""A parameter named for a secret; one that ends in Arn carries where it is."""


@pytest.mark.parametrize(
    "path", [ROOT / "template.yaml", *sorted((ROOT / "stacks").glob("*.yaml"))], ids=lambda path: path.name
)
def test_no_template_parameter_carries_a_secret(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    parameters = [line for line in lines if CARRIER.match(line)]
    assert parameters == []
