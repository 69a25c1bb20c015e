"""Bad parameters are refused, with a message that says which and why: by a constraint, a rule, or `make validate`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lab.constraints import faults
from lab.validate import main

from .conftest import PARAMETERS, ROOT

TEMPLATE = ROOT / "template.yaml"
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/0a1b"
SLUG = "(?=.{1,32}$)[a-z0-9]+(-[a-z0-9]+)*"
LONG = "an-image-that-turns-into-a-video-of-an-image"
REFUSED_BY_CLOUDFORMATION = [
    # parameter and value; message
    ({"Stage": "test"}, "Stage: 'test' is none of staging, production"),
    ({"WorkflowSlugs": "Upscale"}, f"WorkflowSlugs: 'Upscale' does not match {SLUG}"),
    ({"WorkflowSlugs": LONG}, f"WorkflowSlugs: '{LONG}' does not match {SLUG}"),
    ({"WorkflowSlugs": "face-swap,"}, f"WorkflowSlugs: '' does not match {SLUG}"),
    (
        {"CertificateArn": CERTIFICATE},
        "CertificateNeedsDomain: CertificateArn needs DomainName; give both for HTTPS or neither",
    ),
    (
        {"DomainName": "app.example.com"},
        "DomainNeedsCertificate: DomainName needs CertificateArn; give both for HTTPS or neither",
    ),
    (
        {"CertificateArn": "app.example.com", "DomainName": "app.example.com"},
        "CertificateArn: 'app.example.com' does not match",
    ),
    ({"OpsEmail": "ops"}, "OpsEmail: 'ops' does not match"),
    ({"MonthlyBudget": "300"}, "BudgetNeedsEmail: MonthlyBudget needs OpsEmail; nobody else is told"),
    ({"TickSeconds": "7"}, "TickSeconds: '7' is none of 5, 10, 15, 20, 30, 60"),
    ({"DatabaseClass": "t4g.small"}, "DatabaseClass: 't4g.small' is none of db.t4g.small, db.t4g.medium, db.t4g.large"),
    ({"FleetWorkerLimit": "-1"}, "FleetWorkerLimit: -1 is below 0"),
    ({"FleetWorkerLimit": "many"}, "FleetWorkerLimit: 'many' is no number"),
    ({"RedisReplica": "2"}, "RedisReplica: '2' is none of none, standby, failover"),
    ({"ApiBaseUrl": "https://api.example.com/"}, "ApiBaseUrl: 'https://api.example.com/' does not match"),
    ({"NatGateways": "3"}, "NatGateways: '3' is none of 1, 2"),
    ({"ImageTag": "a b"}, "ImageTag: 'a b' does not match"),
    ({"Zones": "us-east-1a"}, "Zones: 'us-east-1a' does not match"),
    ({"Zones": "us-east-1a,us-east-1b,us-east-1c"}, "Zones: 'us-east-1a,us-east-1b,us-east-1c' does not match"),
]
REFUSED_BEFORE = [
    # what stands under Mappings / Workflows, for face-swap; message
    (
        {'InstanceTypes: "g4dn.xlarge,g5.xlarge"': 'InstanceTypes: "a1.b,a2.b,a3.b,a4.b,a5.b"'},
        "Fleetfaceswap.InstanceTypes: 'a1.b,a2.b,a3.b,a4.b,a5.b' does not match",
    ),
    ({"MinSize: 0, MaxSize: 10": "MinSize: 3, MaxSize: 2"}, "Fleetfaceswap: MaxSize 2 is below MinSize 3"),
    ({"MaxSize: 10": "MaxSize: -1"}, "Fleetfaceswap.MaxSize: -1 is below 0"),
    ({"BacklogTarget: 2": "BacklogTarget: 0"}, "Fleetfaceswap.BacklogTarget: 0 is below 1"),
    ({"face-swap:": "face-swop:"}, "WorkflowSlugs: face-swap has no entry under Mappings / Workflows"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED_BY_CLOUDFORMATION)
def test_cloudformation_refuses(changes: dict[str, str], message: str) -> None:
    [fault] = faults(TEMPLATE, PARAMETERS | changes)
    assert fault.startswith(message)


ELSEWHERE = "arn:aws:acm:eu-west-1:123456789012:certificate/0a1b"


def test_https_outside_us_east_1_needs_a_certificate_for_cloudfront_too() -> None:
    """Without one the media bucket and the application would take the domain for theirs, and users come by another."""
    given = PARAMETERS | {"CertificateArn": ELSEWHERE, "DomainName": "app.example.com"}
    assert faults(TEMPLATE, given, "eu-west-1") == [
        "CertificateNeedsDomain: CertificateArn outside us-east-1 needs EdgeCertificateArn, "
        "one of us-east-1 for CloudFront"
    ]
    assert faults(TEMPLATE, given | {"EdgeCertificateArn": CERTIFICATE}, "eu-west-1") == []


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (
            {"CertificateArn": ELSEWHERE, "DomainName": "app.example.com"},
            "CertificateArn: it is of eu-west-1, and the load balancer takes one of us-east-1",
        ),
        ({"Zones": "us-east-1a,eu-west-1a"}, "Zones: eu-west-1a is not in us-east-1"),
        ({"Zones": "us-east-1c,us-east-1c"}, "Zones: us-east-1c is there twice, and two are needed"),
    ],
)
def test_what_stands_elsewhere_or_twice_is_refused(given: dict[str, str], fault: str) -> None:
    assert faults(TEMPLATE, PARAMETERS | given, "us-east-1") == [fault]


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A copy of the templates and of samconfig.toml that may be spoilt."""
    for name in ("stacks", "statemachines"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("template.yaml", "samconfig.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize(("changes", "message"), REFUSED_BEFORE)
def test_make_validate_refuses_what_cloudformation_would_find_late_or_never(
    changed: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, str], message: str
) -> None:
    path = changed / "template.yaml"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    [number] = [index for index, line in enumerate(lines) if line.startswith("    face-swap: {")]
    for old, new in changes.items():
        assert old in lines[number]
        lines[number] = lines[number].replace(old, new)
    path.write_text("".join(lines), encoding="utf-8")
    assert main(changed) == 1
    assert f"staging: {message}" in capsys.readouterr().out


def test_make_validate_finds_the_examples_good(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ROOT) == 0
    assert capsys.readouterr().out == "staging: its parameters are good\nproduction: its parameters are good\n"


def test_make_validate_knows_where_a_stage_would_be_deployed(changed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = changed / "samconfig.toml"
    text = config.read_text(encoding="utf-8").replace('region = "us-east-1"', 'region = "eu-west-1"')
    config.write_text(
        text.replace('"FleetWorkerLimit=50"', f'"CertificateArn={ELSEWHERE}", "DomainName=app.example.com"')
    )
    assert main(changed) == 1
    assert "production: CertificateNeedsDomain: CertificateArn outside us-east-1 needs" in capsys.readouterr().out


def test_make_validate_reads_what_would_be_deployed(changed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = changed / "samconfig.toml"
    config.write_text(config.read_text(encoding="utf-8").replace('"FleetWorkerLimit=50"', '"FleetWorkerLimits=50"'))
    assert main(changed) == 1
    assert "production: FleetWorkerLimits: the template has no such parameter" in capsys.readouterr().out


def test_a_workflow_is_listed_once() -> None:
    given = PARAMETERS | {"WorkflowSlugs": "face-swap,face-swap"}
    assert faults(TEMPLATE, given) == ["WorkflowSlugs: face-swap is listed twice"]


def test_workflows_whose_stacks_would_have_one_name_are_refused(changed: Path) -> None:
    path = changed / "template.yaml"
    text = path.read_text(encoding="utf-8")
    [entry] = [line for line in text.splitlines(keepends=True) if line.startswith("    face-swap: {")]
    path.write_text(text.replace(entry, entry + entry.replace("face-swap", "faceswap")), encoding="utf-8")
    given = PARAMETERS | {"WorkflowSlugs": "face-swap,faceswap"}
    assert faults(path, given) == ["WorkflowSlugs: face-swap and faceswap differ by hyphens alone"]
