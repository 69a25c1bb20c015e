"""A database that cannot be entered: each way to fail has its name, says what to check, and gives no secret away."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from fleet_control.act import database as module
from fleet_control.act.aws import client
from fleet_control.errors import DatabaseUnavailable
from moto import mock_aws

from lab.certificates import Certificates, issue_certificates
from lab.cloud.custom import response_desk

from . import hosts
from .handlers import Context, load

PASSWORD = "hunter2"
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:bp-staging-scale-in"
EVENTS = Path(__file__).parents[2] / "events"
DENIED = (1045, "Access denied for user 'fleet_control'@'10.0.8.5' (using password: YES)")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return issue_certificates(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return issue_certificates(tmp_path_factory.mktemp("strangers"))


@pytest.fixture(scope="module")
def expired(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return issue_certificates(tmp_path_factory.mktemp("expired"), expired=True)


Aim = Callable[..., None]


@pytest.fixture
def aim(monkeypatch: pytest.MonkeyPatch, ours: Certificates) -> Iterator[Aim]:
    """aim(port) points both database secrets of a stage at a host; the environment is a function's own."""
    monkeypatch.setattr(module, "SOCKET_SECONDS", 0.3)
    variables = {"STAGE": "staging", "DB_SECRET_ID": "/bp/staging/rds/fleet-control", "DB_CA_FILE": str(ours.ca_file)}
    variables |= {"SCALE_IN_MACHINE_ARN": MACHINE, "SPOT_INTERRUPTION_MACHINE_ARN": MACHINE, "FLEET_WORKER_LIMIT": "5"}
    variables |= {"DEAD_LETTERS_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/letters"}
    variables |= {"AWS_ACCESS_KEY_ID": "t", "AWS_SECRET_ACCESS_KEY": "t", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    client.cache_clear()

    def point(port: int, host: str = "127.0.0.1", ca_file: Path | None = None) -> None:
        login = {"host": host, "port": port, "username": "fleet_control", "password": PASSWORD}
        manager = boto3.client("secretsmanager")
        manager.create_secret(Name="/bp/staging/rds/fleet-control", SecretString=json.dumps(login))
        if ca_file is not None:
            monkeypatch.setenv("DB_CA_FILE", str(ca_file))

    with mock_aws():
        yield point
    client.cache_clear()


def sample(name: str, **changes: Any) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event | changes


def started(function: str, request: pytest.FixtureRequest) -> ModuleType:
    """A new execution environment whose log is this test's own: loggers outlive a test, captured output does not."""
    app = load(function)
    app.telemetry._service = request.node.name
    return app


def closed_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        return int(free.getsockname()[1])


Certs = Mapping[str, Certificates]
FAILURES: list[tuple[str, Callable[[Certs], hosts.Behave | None], dict[str, Any], str]] = [
    ("a wrong password", lambda c: hosts.with_tls(c["ours"], *DENIED), {}, "user or password refused: the secret and"),
    ("too many connections", lambda c: hosts.with_tls(c["ours"], 1040, "Too many"), {}, "all connections are in use"),
    ("nobody listens", lambda c: None, {}, "the host cannot be reached"),
    ("no such name", lambda c: None, {"host": "db.invalid"}, "the host name of the secret does not resolve"),
    ("a host that is silent", lambda c: hosts.silent, {}, "check host and port of the secret"),
    ("a host that hangs up", lambda c: hosts.hangs_up, {}, "check host and port of the secret"),
    ("a web server", lambda c: hosts.says(b"HTTP/1.1 400 Bad Request\r\n"), {}, "check host and port of the secret"),
    ("an empty greeting", lambda c: hosts.says(hosts.packet(0, b"")), {}, "check host and port of the secret"),
    ("a short greeting", lambda c: hosts.says(hosts.packet(0, b"\x0a1")), {}, "check host and port of the secret"),
    ("a server without TLS", lambda c: hosts.without_tls, {}, "the server offers no TLS although DB_CA_FILE is set"),
    ("TLS that is none", lambda c: hosts.garbled_tls, {}, "TLS failed"),
    ("another authority", lambda c: hosts.with_tls(c["strangers"]), {}, "not trusted by DB_CA_FILE"),
    (
        "another host's name",
        lambda c: hosts.with_tls(c["ours"]),
        {"host": "127.1"},
        "names another host than the secret",
    ),
    ("an expired certificate", lambda c: hosts.with_tls(c["expired"]), {"ca": "expired"}, "certificate has expired"),
    ("no CA file", lambda c: hosts.silent, {"ca_file": Path("absent.pem")}, "the CA file absent.pem (DB_CA_FILE)"),
]


@pytest.fixture
def failing(
    request: pytest.FixtureRequest, aim: Aim, ours: Certificates, strangers: Certificates, expired: Certificates
) -> Iterator[str]:
    """A stage whose database fails in one of the ways; gives what must be said of it."""
    _, make, aimed, text = request.param
    known = {"ours": ours, "strangers": strangers, "expired": expired}
    options = dict(aimed)
    if name := options.pop("ca", None):
        options["ca_file"] = known[name].ca_file
    behave = make(known)
    if behave is None:
        aim(closed_port(), **options)
        yield text
        return
    with hosts.host(behave) as port:
        aim(port, **options)
        yield text


NAMES = {"a wrong password", "nobody listens", "no such name", "a server without TLS", "an expired certificate"}
COMMON = [failure for failure in FAILURES if failure[0] in NAMES]


@pytest.mark.parametrize("failing", FAILURES, ids=[f[0] for f in FAILURES], indirect=True)
def test_reconcile_holds_and_says_which(
    failing: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    result = started("reconcile", request).handler(sample("reconcile_tick"), Context())
    assert (result["outcome"], result["reason"]) == ("hold", "database unavailable")
    written = capsys.readouterr().out
    [hold] = [line for line in map(json.loads, written.splitlines()) if line.get("rule") == "hold"]
    assert hold["reason"].startswith("database unavailable: ")
    assert failing in hold["reason"]
    assert PASSWORD not in written


@pytest.mark.parametrize("failing", COMMON, ids=[f[0] for f in COMMON], indirect=True)
def test_the_stack_is_told_which(
    failing: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    with response_desk() as desk:
        event = sample("tenant_pool_init_create", ResponseURL=desk.url("request"))
        started("tenant_pool_init", request).handler(event, Context())
        answer = desk.wait("request", seconds=5)
    assert answer is not None
    assert answer["Status"] == "FAILED"
    assert failing in answer["Reason"]
    written = capsys.readouterr().out
    assert failing in written
    assert PASSWORD not in json.dumps(answer) + written


RAISING = ["scale_in_look", "scale_to_zero_queue_empty", "spot_interruption_warning"]


@pytest.mark.parametrize("name", RAISING)
@pytest.mark.parametrize("failing", FAILURES[:1], ids=["a wrong password"], indirect=True)
def test_what_is_delivered_once_fails_so_that_it_is_delivered_again(
    failing: str, name: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    if name.startswith("scale_to_zero"):
        group_of_the_sample()
    with pytest.raises(DatabaseUnavailable, match=failing):
        started(name.rpartition("_")[0].removesuffix("_queue"), request).handler(sample(name), Context())
    written = capsys.readouterr().out
    assert failing in written
    assert PASSWORD not in written


def group_of_the_sample() -> None:
    tags = [("Stage", "staging"), ("WorkflowSlug", "image-to-video"), ("fleet:workflows", "image-to-video")]
    boto3.client("ec2").create_launch_template(
        LaunchTemplateName="template", LaunchTemplateData={"ImageId": "ami-12c6146b", "InstanceType": "g4dn.xlarge"}
    )
    boto3.client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName="asg-staging-image-to-video",
        LaunchTemplate={"LaunchTemplateName": "template"},
        MinSize=0,
        MaxSize=1,
        AvailabilityZones=["us-east-1a"],
        Tags=[{"Key": key, "Value": value, "PropagateAtLaunch": False} for key, value in tags],
    )


@pytest.mark.parametrize("port", [0, 65_536, None])
def test_a_port_that_cannot_be_is_a_fault_of_the_secret(aim: Aim, port: Any) -> None:
    aim(port)
    result = load("reconcile").handler(sample("reconcile_tick"), Context())
    assert (result["outcome"], result["reason"]) == ("hold", "secret unreadable")
