"""The guides' commands: a shell can read them, AWS has them with these options, they cover the whole stage."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator

import pytest
from botocore import xform_name
from botocore.session import Session

from tests.template.conftest import ROOT, properties_of, resolved

GUIDES = ("docs/deploy.md", "docs/delivery.md")
OF_THE_COMMAND_LINE = {
    # commands that are no operation of a service, with the options that the guides use
    "cloudformation deploy": {"stack-name", "template-file", "capabilities", "parameter-overrides"},
    "ecr get-login-password": set(),
    "elasticache wait": {"replication-group-id"},
    "logs tail": {"since", "filter-pattern", "log-stream-name-prefix"},
    "rds wait": {"db-instance-identifier"},
    "s3 rb": {"force"},
    "s3 rm": {"recursive"},
}
EVERYWHERE = {"query", "output", "region", "cli-binary-format", "max-items"}


def blocks(guide: str) -> list[str]:
    return re.findall(r"```sh\n(.*?)```", (ROOT / guide).read_text(encoding="utf-8"), re.DOTALL)


def commands() -> Iterator[tuple[str, frozenset[str]]]:
    """Service and operation of each call of AWS, with its options; one inside another counts for itself."""
    for guide in GUIDES:
        text = "\n".join(blocks(guide)).replace("\\\n", " ")
        for piece in re.split(r"\n|\||;|\$\(|\)", re.sub(r"\s#.*", "", text)):
            if found := re.search(r"\baws ([a-z0-9]+) ([a-z0-9-]+)(.*)", piece):
                options = re.findall(r"(?<=\s)--([a-z0-9-]+)", re.sub(r'"[^"]*"', "", found[3]))
                yield f"{found[1]} {found[2]}", frozenset(options) - EVERYWHERE


def known_options(command: str) -> set[str]:
    if command in OF_THE_COMMAND_LINE:
        return OF_THE_COMMAND_LINE[command]
    service, operation = command.split(" ")
    model = Session().get_service_model({"s3api": "s3"}.get(service, service))
    names = {xform_name(name, "-"): name for name in model.operation_names}
    shape = model.operation_model(names[operation]).input_shape
    return {flag + xform_name(name, "-") for name in (shape.members if shape else ()) for flag in ("", "no-")}


@pytest.mark.parametrize("guide", GUIDES)
def test_a_shell_can_read_every_block(guide: str) -> None:
    assert blocks(guide)
    for block in blocks(guide):
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert done.stderr == "", block


@pytest.mark.parametrize(("command", "options"), sorted(set(commands()), key=str))
def test_aws_has_the_command_with_these_options(command: str, options: frozenset[str]) -> None:
    assert options - known_options(command) == set()


def tear_down() -> str:
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    return page.split("### Tear-down")[1].split("\n## ")[0]


def test_the_tear_down_stops_every_fleet_and_empties_every_bucket() -> None:
    overrides = tomllib.loads((ROOT / "samconfig.toml").read_text())["staging"]["deploy"]["parameters"]
    [slugs] = [pair.split("=")[1] for pair in overrides["parameter_overrides"] if pair.startswith("WorkflowSlugs=")]
    assert f"for slug in {slugs.replace(',', ' ')}; do" in tear_down()
    assert all(f"/bp/staging/ami/{slug}" in tear_down() for slug in slugs.split(","))
    buckets = {p["BucketName"].split("-")[1] for p in properties_of(resolved()["Data"], "AWS::S3::Bucket").values()}
    [emptied] = re.findall(r"for bucket in (.*); do\n  aws s3 rm", tear_down())
    assert set(emptied.split()) == buckets


def test_whatever_writes_into_the_log_bucket_is_stopped_before_it_is_emptied() -> None:
    data = resolved()["Data"]
    logged = {
        p["BucketName"].split("-")[1]
        for p in properties_of(data, "AWS::S3::Bucket").values()
        if "LoggingConfiguration" in p
    }
    [stopped] = re.findall(r"for bucket in (.*); do\n  aws s3api put-bucket-logging", tear_down())
    assert set(stopped.split()) == logged
    order = [
        tear_down().index(what) for what in ("access_logs.s3.enabled", "put-bucket-logging", "aws s3 rm", "sam delete")
    ]
    assert order == sorted(order)


def test_after_a_failed_first_deployment_production_gives_back_all_that_it_would_keep() -> None:
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    [block] = [block for block in blocks("docs/deploy.md") if "--no-deletion-protection" in block]
    data = resolved(Stage="production")["Data"]
    kept = {name: r for name, r in data.items() if r.get("DeletionPolicy") == "Retain"}
    for resource in kept.values():
        properties = resource["Properties"]
        match resource["Type"]:
            case "AWS::S3::Bucket":
                [buckets] = re.findall(r"for bucket in (.*); do aws s3 rb", block)
                assert properties["BucketName"].split("-")[1] in buckets.split()
            case "AWS::SecretsManager::Secret":
                [secrets] = re.findall(r"for secret in (.*); do", block)
                assert properties["Name"].removeprefix("/bp/production/") in secrets.split()
            case "AWS::RDS::DBInstance":
                assert f"delete-db-instance --db-instance-identifier {properties['DBInstanceIdentifier']}" in block
            case "AWS::ElastiCache::ReplicationGroup":
                group = properties["ReplicationGroupId"]
                assert f"delete-replication-group --replication-group-id {group}" in block
            case other:
                raise AssertionError(other)
    assert len(kept) == 10
    assert "A stack that was rolled back cannot be deployed again" in page
