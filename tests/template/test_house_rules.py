"""What holds for all resources of all variants: least privilege, nothing unencrypted or unheard, no loose end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from typing import Any

import pytest

from lab.render import Template

from .conftest import ROOT
from .test_permissions import WITHOUT_RESOURCE, as_list, statements
from .variants import ALL, Variant

Found = Iterator[tuple[str, str, dict[str, Any]]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, bool, int], Variant]:
    folder = tmp_path_factory.mktemp("variants")
    return {key: Variant(folder, *key) for key in ALL}


@pytest.fixture(scope="module", params=ALL, ids=str)
def variant(request: pytest.FixtureRequest, made: dict[tuple[str, bool, int], Variant]) -> Variant:
    return made[request.param]


def of(variant: Variant, *kinds: str) -> Found:
    for stack, resources in variant.stacks.items():
        for name, resource in resources.items():
            if resource["Type"] in kinds:
                yield stack, name, resource["Properties"]


def identity_statements(variant: Variant) -> Iterator[tuple[str, dict[str, Any]]]:
    for _, name, properties in of(variant, "AWS::IAM::Role", "AWS::IAM::ManagedPolicy"):
        yield from ((name, statement) for statement in statements(properties))


def test_no_action_is_a_wildcard(variant: Variant) -> None:
    assert [(who, a) for who, s in identity_statements(variant) for a in as_list(s["Action"]) if "*" in a] == []


def test_any_resource_is_allowed_only_where_aws_knows_none(variant: Variant) -> None:
    broad = {a for _, s in identity_statements(variant) if "*" in as_list(s["Resource"]) for a in as_list(s["Action"])}
    assert broad == WITHOUT_RESOURCE


def test_every_role_and_policy_is_used(variant: Variant) -> None:
    for stack, template in variant.templates.items():
        text = json.dumps([*template["Resources"].values(), template.get("Outputs")])
        for name, resource in template["Resources"].items():
            if resource["Type"] in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy", "AWS::IAM::InstanceProfile"):
                assert f'"{name}"' in text or f"${{{name}" in text, f"{stack}/{name}"


def test_every_log_group_forgets(variant: Variant) -> None:
    days = 7 if variant.stage == "staging" else 30
    assert {int(p["RetentionInDays"]) for _, _, p in of(variant, "AWS::Logs::LogGroup")} == {days}


def test_every_function_keeps_what_it_could_not_do(variant: Variant) -> None:
    kept = {
        p["FunctionName"]: p["DestinationConfig"]["OnFailure"]["Destination"]
        for _, _, p in of(variant, "AWS::Lambda::EventInvokeConfig")
    }
    functions = {p["FunctionName"] for _, _, p in of(variant, "AWS::Lambda::Function")}
    assert kept.keys() == functions
    assert {arn.rpartition(":")[2] for arn in kept.values()} == {f"bp-{variant.stage}-failed-invocations"}


def is_bucket_encrypted(bucket: dict[str, Any]) -> bool:
    rules = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    return all(rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] for rule in rules)


ENCRYPTED: dict[str, Callable[[dict[str, Any]], bool]] = {
    "AWS::SQS::Queue": lambda p: p["SqsManagedSseEnabled"],
    "AWS::SNS::Topic": lambda p: bool(p["KmsMasterKeyId"]),
    "AWS::S3::Bucket": is_bucket_encrypted,
    "AWS::RDS::DBInstance": lambda p: p["StorageEncrypted"],
    "AWS::ElastiCache::ReplicationGroup": lambda p: p["AtRestEncryptionEnabled"] and p["TransitEncryptionEnabled"],
    "AWS::EC2::LaunchTemplate": lambda p: all(
        disk["Ebs"]["Encrypted"] for disk in p["LaunchTemplateData"]["BlockDeviceMappings"]
    ),
}


@pytest.mark.parametrize("kind", ENCRYPTED)
def test_everything_that_holds_something_is_encrypted(variant: Variant, kind: str) -> None:
    found = {f"{stack}/{name}": ENCRYPTED[kind](p) for stack, name, p in of(variant, kind)}
    assert found
    assert set(found.values()) == {True}


def test_no_bucket_is_public_and_every_bucket_refuses_plain_http(variant: Variant) -> None:
    buckets = {p["BucketName"]: p["PublicAccessBlockConfiguration"] for _, _, p in of(variant, "AWS::S3::Bucket")}
    assert all(len(block) == 4 and all(block.values()) for block in buckets.values())
    closed = set()
    for _, _, properties in of(variant, "AWS::S3::BucketPolicy"):
        allowing = [s for s in properties["PolicyDocument"]["Statement"] if s["Effect"] == "Allow"]
        assert all("Service" in s["Principal"] and s["Condition"] for s in allowing)
        [denied] = [s for s in properties["PolicyDocument"]["Statement"] if s["Effect"] == "Deny"]
        assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        assert denied["Resource"] == [f"arn:aws:s3:::{properties['Bucket']}{rest}" for rest in ("", "/*")]
        closed.add(properties["Bucket"])
    assert closed == buckets.keys()


def test_every_alarm_has_an_action_that_exists(variant: Variant) -> None:
    topics = {p["TopicName"] for _, _, p in of(variant, "AWS::SNS::Topic")}
    for _, name, alarm in of(variant, "AWS::CloudWatch::Alarm"):
        assert alarm["AlarmActions"], name
        actions = [*alarm["AlarmActions"], *alarm.get("OKActions", []), *alarm.get("InsufficientDataActions", [])]
        assert {action.rpartition(":")[2] for action in actions} <= topics, name


# ---- Loose ends: what is referred to is there


def references(node: Any) -> Iterator[str]:
    """Logical ids and parameters that Ref, GetAtt and Sub name; ASL's own `$$` and escaped `${!` are none."""
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key == "Ref":
            yield value
        elif key == "Fn::GetAtt":
            yield value.split(".")[0] if isinstance(value, str) else value[0]
        elif key == "Fn::Sub":
            text, given = (value, {}) if isinstance(value, str) else value
            yield from (name.split(".")[0] for name in re.findall(r"\$\{([^!}]+)\}", text) if name not in given)
            yield from references(given)
        else:
            yield from references(value)


def test_every_reference_of_every_template_leads_somewhere(variant: Variant) -> None:
    for stack, template in variant.templates.items():
        known = template["Resources"].keys() | template.get("Parameters", {}).keys()
        body = {key: template.get(key, {}) for key in ("Resources", "Outputs", "Conditions")}
        body["Resources"] = {n: {k: v for k, v in r.items() if k != "Metadata"} for n, r in body["Resources"].items()}
        loose = {name for name in references(body) if name not in known and not name.startswith("AWS::")}
        assert loose == set(), stack


def waits_for(template: Template) -> dict[str, set[str]]:
    """By resource, those that CloudFormation makes before it."""
    resources = template["Resources"]
    own = {name: {k: v for k, v in resource.items() if k != "Metadata"} for name, resource in resources.items()}
    depends = {name: resource.get("DependsOn", []) for name, resource in own.items()}
    return {n: {*references(r), *as_list(depends[n])} & resources.keys() for n, r in own.items()}


def test_what_a_resource_waits_for_is_there_and_does_not_wait_for_it(variant: Variant) -> None:
    for stack, template in variant.templates.items():
        for name, resource in template["Resources"].items():
            assert set(as_list(resource.get("DependsOn", []))) <= template["Resources"].keys(), f"{stack}/{name}"
        assert len(list(TopologicalSorter(waits_for(template)).static_order())) == len(template["Resources"])


def test_the_house_is_built_from_the_ground_up(variant: Variant) -> None:
    """Of the nested stacks, each only after those below it; what tasks and fleets read before tasks and fleets."""
    order = list(TopologicalSorter(waits_for(variant.templates[""])).static_order())
    chain = ["Network", "Data", "TenantPools", "Compute"]
    assert sorted(chain, key=order.index) == chain
    waiting = waits_for(variant.templates[""])
    assert {"Network", "Signals", "AmiParameterInitFunction"} <= waiting["Fleetimagetovideo"]
    assert {"Data", "Edge", "FleetSecret"} <= waiting["Compute"]


def test_every_output_that_is_asked_for_is_given(variant: Variant) -> None:
    asked = re.findall(r'\["(\w+)", "Outputs\.(\w+)"\]', json.dumps(variant.rendered))
    assert asked
    for stack, output in asked:
        assert output in variant.templates[stack]["Outputs"]


def test_every_parameter_of_a_nested_stack_is_given_or_has_a_default(variant: Variant) -> None:
    for name, template in variant.templates.items():
        if name:
            given = variant.rendered["Resources"][name]["Properties"].get("Parameters", {}).keys()
            declared = template.get("Parameters", {})
            needed = {key for key, spec in declared.items() if "Default" not in spec}
            assert needed <= given <= declared.keys(), name


def test_every_arn_in_every_state_machine_is_of_something_that_is_deployed(variant: Variant) -> None:
    functions = {p["FunctionName"] for _, _, p in of(variant, "AWS::Lambda::Function")}
    machines = list(of(variant, "AWS::StepFunctions::StateMachine"))
    assert len(machines) == len(list((ROOT / "statemachines").glob("*.asl.json")))
    for _, name, machine in machines:
        definition = machine["DefinitionString"]
        json.loads(definition)
        assert "${" not in definition, name
        called = re.findall(r'"arn:aws:lambda:us-east-1:123456789012:function:([\w-]+)"', definition)
        assert called, name
        assert set(called) <= functions
