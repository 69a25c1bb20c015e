"""One fleet, as stacks/gpu-fleet.yaml makes it; and what adding another takes."""

import json
from pathlib import Path
from typing import Any

import pytest
from fleet_control.act.asg import TERMINATE_HOOK
from fleet_control.decide.model import Policy

from lab.iam.resolve import Stack, resolve_stacks
from lab.render import Template, render

from .conftest import PARAMETERS, ROOT, properties_of, resolved


@pytest.fixture(scope="session")
def fleet(stacks: dict[str, Template]) -> Template:
    return stacks["Fleetimagetovideo"]


def group_of(fleet: Template) -> dict[str, Any]:
    properties: dict[str, Any] = fleet["FleetGroup"]["Properties"]
    return properties


def machine_of(fleet: Template) -> dict[str, Any]:
    data: dict[str, Any] = fleet["FleetLaunchTemplate"]["Properties"]["LaunchTemplateData"]
    return data


def overrides(instance_types: str) -> list[dict[str, str]]:
    parameters = {
        "Stage": "staging",
        "WorkflowSlug": "upscale",
        "SubnetIds": "subnet-1",
        "SecurityGroupId": "sg-gpu",
        "ApiBaseUrl": "https://api.example.com",
        "FirstImage": "ami-0123456789abcdef0",
        "AmiParameterInitFunctionArn": "arn:ami-parameter-init",
        "OpsAlertsTopicArn": "arn:ops-alerts",
        "QueueHasJobsTopicArn": "arn:has-jobs",
        "ScaleToZeroTopicArn": "arn:to-zero",
        "InstanceTypes": instance_types,
    }
    template = render(ROOT / "stacks/gpu-fleet.yaml", parameters)
    policy = group_of(Stack(template, parameters).resources())["MixedInstancesPolicy"]
    types: list[dict[str, str]] = policy["LaunchTemplate"]["Overrides"]
    return types


def test_a_stack_update_never_sets_desired_capacity(fleet: Template) -> None:
    assert "DesiredCapacity" not in group_of(fleet)


def test_group_starts_at_zero_and_is_bounded(fleet: Template) -> None:
    assert (group_of(fleet)["MinSize"], group_of(fleet)["MaxSize"]) == ("0", "10")


def test_a_lower_number_kills_nothing_that_serves(fleet: Template) -> None:
    assert group_of(fleet)["NewInstancesProtectedFromScaleIn"] is True


def test_a_replacement_comes_before_a_risky_instance_goes(fleet: Template) -> None:
    assert group_of(fleet)["CapacityRebalance"] is True


def test_whatever_has_to_go_waits_for_its_job_longer_than_spot_does(fleet: Template) -> None:
    [hook] = properties_of(fleet, "AWS::AutoScaling::LifecycleHook").values()
    assert (hook["LifecycleHookName"], hook["LifecycleTransition"]) == (
        TERMINATE_HOOK,
        "autoscaling:EC2_INSTANCE_TERMINATING",
    )
    assert hook["HeartbeatTimeout"] == 150
    assert hook["HeartbeatTimeout"] > Policy(("x",), 0, 1).notice_seconds


def test_no_job_may_outlast_the_longest_wait_of_a_hook(fleet: Template) -> None:
    """AWS ends the wait after a hundred time-outs, however many heartbeats come."""
    [hook] = properties_of(fleet, "AWS::AutoScaling::LifecycleHook").values()
    declared = (ROOT / "stacks/gpu-fleet.yaml").read_text().split("JobTimeoutSeconds: {")[1].split("}")[0]
    assert f"MaxValue: {14_400}," in declared
    assert hook["HeartbeatTimeout"] * 100 > 14_400


def test_nobody_is_kept_for_ever_when_nobody_answers(fleet: Template) -> None:
    [hook] = properties_of(fleet, "AWS::AutoScaling::LifecycleHook").values()
    assert hook["DefaultResult"] == "CONTINUE"


def test_everything_is_spot_from_the_deepest_pool_in_order_of_preference(fleet: Template) -> None:
    assert group_of(fleet)["MixedInstancesPolicy"]["InstancesDistribution"] == {
        "OnDemandBaseCapacity": 0,
        "OnDemandPercentageAboveBaseCapacity": 0,
        "SpotAllocationStrategy": "capacity-optimized-prioritized",
    }


@pytest.mark.parametrize(
    "types",
    [
        "g5.xlarge",
        "g4dn.xlarge,g5.xlarge",
        "g4dn.xlarge,g5.xlarge,g6.xlarge",
        "g4dn.xlarge,g5.xlarge,g6.xlarge,g5.2xlarge",
    ],
)
def test_as_many_types_are_offered_as_are_listed(types: str) -> None:
    assert overrides(types) == [{"InstanceType": name} for name in types.split(",")]


def test_names_are_those_of_the_contract(fleet: Template) -> None:
    assert group_of(fleet)["AutoScalingGroupName"] == "asg-staging-image-to-video"
    assert fleet["FleetLaunchTemplate"]["Properties"]["LaunchTemplateName"] == "lt-staging-image-to-video"
    assert fleet["WorkerLogGroup"]["Properties"]["LogGroupName"] == "/gpu-workers/staging/image-to-video"


def test_group_carries_its_policy(fleet: Template) -> None:
    tags = {tag["Key"]: tag["Value"] for tag in group_of(fleet)["Tags"]}
    assert tags == {
        "Stage": "staging",
        "WorkflowSlug": "image-to-video",
        "fleet:workflows": "image-to-video",
        "fleet:backlog-target": "2",
        "fleet:idle-seconds": "120",
        "fleet:scale-to-zero-minutes": "15",
        "fleet:warmup-seconds": "300",
        "fleet:launch-grace-seconds": "300",
        "fleet:silent-seconds": "300",
        "fleet:drain-look-seconds": "3",
        "fleet:drain-limit-seconds": "60",
        "fleet:probe-seconds": "600",
        "fleet:job-timeout-seconds": "3600",
        "fleet:notice-seconds": "120",
        "fleet:end-margin-seconds": "15",
    }


def test_instances_carry_what_they_are_and_not_the_policy(fleet: Template) -> None:
    propagated = {tag["Key"] for tag in group_of(fleet)["Tags"] if tag["PropagateAtLaunch"]}
    assert propagated == {"Stage", "WorkflowSlug"}


def test_a_new_image_needs_no_deployment(fleet: Template) -> None:
    assert machine_of(fleet)["ImageId"] == "resolve:ssm:/bp/staging/ami/image-to-video"


def test_metadata_takes_a_session_token_and_one_hop(fleet: Template) -> None:
    options = machine_of(fleet)["MetadataOptions"]
    assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 1)


def test_disk_is_encrypted(fleet: Template) -> None:
    [disk] = machine_of(fleet)["BlockDeviceMappings"]
    assert disk["Ebs"] == {"VolumeSize": 100, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}


def test_user_data_writes_the_worker_environment_of_the_contract(fleet: Template) -> None:
    script = machine_of(fleet)["UserData"]
    written = script.split("<<ENV\n")[1].split("\nENV\n")[0]
    assert dict(line.split("=", 1) for line in written.splitlines()) == {
        "API_BASE_URL": "https://api.example.com",
        "WORKER_ID": "$instance_id",
        "FLEET_SECRET": '"$quoted"',
        "WORKFLOW_SLUGS": "image-to-video",
        "ASG_NAME": "asg-staging-image-to-video",
        "COMFYUI_BASE_URL": "http://127.0.0.1:8188",
        "POLL_INTERVAL_SECONDS": "3",
        "HEARTBEAT_INTERVAL_SECONDS": "30",
        "MAX_CONCURRENCY": "1",
    }
    assert "install -D -m 600 /dev/null /opt/worker/env" in script
    assert "{{resolve" not in script  # dynamic references do not work in user data
    assert script.rstrip().endswith("systemctl start comfyui-worker.service")


def test_fleets_differ_by_their_mapping_entry_alone(stacks: dict[str, Template]) -> None:
    first, second = (json.dumps(stacks[name]) for name in ("Fleetimagetovideo", "Fleetfaceswap"))
    assert first.replace("image-to-video", "face-swap") == second


def test_a_third_workflow_is_one_list_item_and_one_mapping_entry(tmp_path: Path) -> None:
    for name in ("stacks", "statemachines"):
        (tmp_path / name).symlink_to(ROOT / name)
    entry = (
        '    upscale: { MinSize: 0, MaxSize: 3, BacklogTarget: 4, WarmupSeconds: 120, InstanceTypes: "g6.xlarge" }\n'
    )
    source = (ROOT / "template.yaml").read_text()
    (tmp_path / "template.yaml").write_text(source.replace("    face-swap: {", f"{entry}    face-swap: {{", 1))
    parameters = PARAMETERS | {"WorkflowSlugs": "image-to-video,face-swap,upscale"}
    stacks = resolve_stacks(render(tmp_path / "template.yaml", parameters), parameters)
    assert stacks.keys() - resolved().keys() == {"Fleetupscale"}
    group = group_of(stacks["Fleetupscale"])
    assert (group["AutoScalingGroupName"], group["MaxSize"]) == ("asg-staging-upscale", "3")
    assert stacks["Fleetupscale"].keys() == stacks["Fleetfaceswap"].keys()
