"""Alarms, rules and schedules: what says "look now", what wakes the operators, and that nobody's call is lost."""

from typing import Any

import pytest

from lab.render import Template

from .conftest import properties_of, resolved

FLEETS = ("Fleetimagetovideo", "Fleetfaceswap")
TOPIC = "arn:aws:sns:us-east-1:123456789012:bp-staging-"
LOST = "arn:aws:sqs:us-east-1:123456789012:bp-staging-undelivered-events"


def alarms_of(stack: Template) -> dict[str, dict[str, Any]]:
    alarms = properties_of(stack, "AWS::CloudWatch::Alarm").values()
    return {alarm["AlarmName"].removeprefix("bp-staging-"): alarm for alarm in alarms}


@pytest.fixture(scope="session")
def watch(stacks: dict[str, Template]) -> dict[str, dict[str, Any]]:
    return alarms_of(stacks["ControlPlaneAlarms"])


def test_every_alarm_names_a_topic_of_the_stage(stacks: dict[str, Template]) -> None:
    topics = {
        f"arn:aws:sns:us-east-1:123456789012:{t['TopicName']}"
        for t in properties_of(stacks["Signals"], "AWS::SNS::Topic").values()
    }
    alarms = [alarm for stack in stacks.values() for alarm in alarms_of(stack).values()]
    assert {name for name, stack in stacks.items() if alarms_of(stack)} == {
        *FLEETS,
        "ControlPlaneAlarms",
        "AmiRollout",
        "Monitoring",
    }
    for alarm in alarms:
        assert alarm["AlarmActions"]
        assert set(alarm["AlarmActions"]) | set(alarm.get("OKActions", [])) <= topics


@pytest.mark.parametrize("slug", ["image-to-video", "face-swap"])
def test_a_waiting_job_has_reconcile_look_within_a_minute(stacks: dict[str, Template], slug: str) -> None:
    alarm = alarms_of(stacks[f"Fleet{slug.replace('-', '')}"])[f"{slug}-queue-has-jobs"]
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"]) == ("ComfyUI/Workers", "QueueDepth", "Maximum")
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanOrEqualToThreshold", 1)
    assert (alarm["Period"], alarm["EvaluationPeriods"]) == (60, 1)
    assert alarm["AlarmActions"] == [f"{TOPIC}queue-has-jobs"]


@pytest.mark.parametrize(("minutes", "slug"), [("15", "image-to-video"), ("3", "face-swap")])
def test_only_a_window_full_of_zeros_is_an_empty_queue(minutes: str, slug: str) -> None:
    alarm = alarms_of(resolved(ScaleToZeroMinutes=minutes)[f"Fleet{slug.replace('-', '')}"])[f"{slug}-queue-empty"]
    assert (alarm["Statistic"], alarm["ComparisonOperator"], alarm["Threshold"]) == ("Maximum", "LessThanThreshold", 1)
    assert (alarm["Period"], alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (60, minutes, minutes)
    assert alarm["TreatMissingData"] == "missing"
    assert alarm["AlarmActions"] == [f"{TOPIC}scale-to-zero"]


def test_the_window_of_the_alarm_is_the_window_of_the_policy() -> None:
    fleet = resolved(ScaleToZeroMinutes="7")["Fleetfaceswap"]
    tags = {tag["Key"]: tag["Value"] for tag in fleet["FleetGroup"]["Properties"]["Tags"]}
    assert tags["fleet:scale-to-zero-minutes"] == alarms_of(fleet)["face-swap-queue-empty"]["EvaluationPeriods"] == "7"


@pytest.mark.parametrize(
    ("name", "namespace", "metric", "dimensions"),
    [
        ("metrics-silent", "ComfyUI/Workers", "ControlPlaneHeartbeat", {"Stage": "staging"}),
        ("reconcile-silent", "FleetControl", "ReconcileHeartbeat", {"Stage": "staging", "service": "reconcile"}),
    ],
)
def test_three_minutes_of_silence_wake_the_operators(
    watch: dict[str, dict[str, Any]], name: str, namespace: str, metric: str, dimensions: dict[str, str]
) -> None:
    alarm = watch[name]
    assert (alarm["Namespace"], alarm["MetricName"]) == (namespace, metric)
    assert {d["Name"]: d["Value"] for d in alarm["Dimensions"]} == dimensions
    assert (alarm["Period"], alarm["EvaluationPeriods"], alarm["TreatMissingData"]) == (60, 3, "breaching")
    assert alarm["AlarmActions"] == [f"{TOPIC}ops-alerts"]


@pytest.mark.parametrize(("name", "metric"), [("holds", "Holds"), ("reconcile-errors", "Errors")])
def test_reconcile_says_when_it_is_blind_or_refused(watch: dict[str, dict[str, Any]], name: str, metric: str) -> None:
    alarm = watch[name]
    assert (alarm["Namespace"], alarm["MetricName"]) == ("FleetControl", metric)
    assert {d["Name"]: d["Value"] for d in alarm["Dimensions"]} == {"Stage": "staging", "service": "reconcile"}


def test_every_function_machine_and_dead_letter_queue_is_watched(
    root: Template, watch: dict[str, dict[str, Any]]
) -> None:
    watched = {d["Value"].rsplit(":", 1)[-1] for alarm in watch.values() for d in alarm["Dimensions"]}
    for kind, name in (
        ("AWS::Lambda::Function", "FunctionName"),
        ("AWS::StepFunctions::StateMachine", "StateMachineName"),
        ("AWS::SQS::Queue", "QueueName"),
    ):
        assert {properties[name] for properties in properties_of(root, kind).values()} <= watched


@pytest.mark.parametrize("machine", ["scale-in", "spot-interruption"])
@pytest.mark.parametrize("ended", ["TimedOut", "Aborted"])
def test_an_execution_that_could_not_end_by_itself_is_seen(
    watch: dict[str, dict[str, Any]], machine: str, ended: str
) -> None:
    alarm = watch[f"machine-{machine}-{ended}"]
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/States", f"Executions{ended}")
    [dimension] = alarm["Dimensions"]
    assert dimension["Name"] == "StateMachineArn"
    assert dimension["Value"].endswith(f":stateMachine:bp-staging-{machine}")
    assert (alarm["Statistic"], alarm["Threshold"]) == ("Sum", 1)
    assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"


def test_jobs_that_no_fleet_serves_are_seen_in_a_quarter_of_an_hour(watch: dict[str, dict[str, Any]]) -> None:
    alarm = watch["unrouted-jobs"]
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"]) == (
        "ComfyUI/Workers",
        "UnroutedJobs",
        "Minimum",
    )
    assert {d["Name"]: d["Value"] for d in alarm["Dimensions"]} == {"Stage": "staging"}
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanThreshold", 0)
    assert alarm["Period"] * alarm["EvaluationPeriods"] == 15 * 60


def test_a_job_that_breaks_machine_after_machine_rings_for_an_hour(watch: dict[str, dict[str, Any]]) -> None:
    alarm = watch["jobs-going-round"]
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"]) == (
        "ComfyUI/Workers",
        "JobsGoingRound",
        "Maximum",
    )
    assert {d["Name"]: d["Value"] for d in alarm["Dimensions"]} == {"Stage": "staging"}
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanOrEqualToThreshold", 1)
    assert (alarm["DatapointsToAlarm"], alarm["Period"] * alarm["EvaluationPeriods"]) == (1, 3600)


def test_operators_get_mail_only_when_an_address_is_given(stacks: dict[str, Template]) -> None:
    assert "OpsEmailSubscription" not in stacks["ControlPlaneAlarms"]
    mail = resolved(OpsEmail="ops@example.com")["ControlPlaneAlarms"]["OpsEmailSubscription"]["Properties"]
    assert mail == {"TopicArn": f"{TOPIC}ops-alerts", "Protocol": "email", "Endpoint": "ops@example.com"}


@pytest.mark.parametrize(("topic", "function"), [("queue-has-jobs", "reconcile"), ("scale-to-zero", "scale-to-zero")])
def test_an_alarm_reaches_its_function(root: Template, topic: str, function: str) -> None:
    found = [s for s in properties_of(root, "AWS::SNS::Subscription").values() if s["TopicArn"] == f"{TOPIC}{topic}"]
    assert [s["Endpoint"].rsplit(":", 1)[-1] for s in found] == [f"bp-staging-{function}"]
    assert [s["RedrivePolicy"] for s in found] == [{"deadLetterTargetArn": LOST}]


RULES = {
    "JobQueued": (
        "job-nudges",
        {
            "source": ["bp.backend"],
            "detail-type": ["JobQueued"],
            "detail": {"stage": [{"exists": False}, "staging"]},
        },
    ),
    "GroupChanged": (
        "reconcile",
        {
            "source": ["aws.autoscaling"],
            "detail-type": [
                "EC2 Instance Launch Successful",
                "EC2 Instance Launch Unsuccessful",
                "EC2 Instance Terminate Successful",
            ],
            "detail": {"AutoScalingGroupName": [{"prefix": "asg-staging-"}]},
        },
    ),
    "SpotNotice": (
        "spot-interruption",
        {
            "source": ["aws.ec2"],
            "detail-type": ["EC2 Spot Instance Interruption Warning", "EC2 Instance Rebalance Recommendation"],
        },
    ),
    "TerminateAction": (
        "spot-interruption",
        {
            "source": ["aws.autoscaling"],
            "detail-type": ["EC2 Instance-terminate Lifecycle Action"],
            "detail": {"AutoScalingGroupName": [{"prefix": "asg-staging-"}]},
        },
    ),
    "ImageChanged": (
        "ami-rollout",
        {
            "source": ["aws.ssm"],
            "detail-type": ["Parameter Store Change"],
            "detail": {"operation": ["Update"], "name": [{"prefix": "/bp/staging/ami/"}]},
        },
    ),
    "HelperStopped": (
        "stopped-helpers",
        {
            "source": ["aws.ecs"],
            "detail-type": ["ECS Task State Change"],
            "detail": {
                "clusterArn": ["arn:aws:ecs:us-east-1:123456789012:cluster/bp-staging"],
                "group": ["service:bp-staging-backend"],
                "lastStatus": ["RUNNING"],
                "desiredStatus": ["RUNNING"],
                "containers": {"name": ["scheduler", "queue-worker"], "lastStatus": ["STOPPED"]},
            },
        },
    ),
    "InstanceGone": (
        "spot-interruption",
        {
            "source": ["aws.ec2"],
            "detail-type": ["EC2 Instance State-change Notification"],
            "detail": {"state": ["shutting-down", "terminated"]},
        },
    ),
}


def rules(stacks: dict[str, Template]) -> list[dict[str, Any]]:
    return [rule for stack in stacks.values() for rule in properties_of(stack, "AWS::Events::Rule").values()]


def test_these_events_and_no_others_are_listened_to(stacks: dict[str, Template]) -> None:
    patterns = [rule["EventPattern"] for rule in rules(stacks) if "EventPattern" in rule]
    expected = [pattern for _, pattern in RULES.values()]
    assert sorted(map(str, patterns)) == sorted(map(str, expected))


@pytest.mark.parametrize("name", RULES)
def test_an_event_reaches_its_function_or_queue(stacks: dict[str, Template], name: str) -> None:
    target, pattern = RULES[name]
    [rule] = [rule for rule in rules(stacks) if rule.get("EventPattern") == pattern]
    assert [told["Arn"].rsplit(":", 1)[-1] for told in rule["Targets"]] == [f"bp-staging-{target}"]


def test_an_event_that_cannot_be_delivered_is_kept(stacks: dict[str, Template]) -> None:
    targets = [target for rule in rules(stacks) for target in rule["Targets"]]
    assert [target["DeadLetterConfig"] for target in targets] == [{"Arn": LOST}] * len(targets)
    [statement] = stacks["Signals"]["UndeliveredEventsQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Resource"] == LOST
    assert statement["Principal"] == {"Service": ["events.amazonaws.com", "sns.amazonaws.com"]}


def test_a_burst_of_nudges_leaves_room_for_the_ticks_and_wakes_nobody(stacks: dict[str, Template]) -> None:
    triggers, root = stacks["Triggers"], stacks[""]
    mapping = triggers["JobNudgesMapping"]["Properties"]
    queue = triggers["JobNudgesQueue"]["Properties"]
    reconcile = root["ReconcileFunction"]["Properties"]
    assert mapping["EventSourceArn"].endswith(f":{queue['QueueName']}")
    assert mapping["FunctionName"] == reconcile["FunctionName"]
    assert mapping["ScalingConfig"]["MaximumConcurrency"] <= reconcile["ReservedConcurrentExecutions"] - 2
    assert mapping["BatchSize"] == 10
    assert queue["MessageRetentionPeriod"] <= 600  # then they expire, with no letter to anybody


def test_a_nudge_does_not_wait_for_others(stacks: dict[str, Template]) -> None:
    """With any batching window Lambda may wait up to 20 seconds when there is little traffic."""
    assert "MaximumBatchingWindowInSeconds" not in stacks["Triggers"]["JobNudgesMapping"]["Properties"]


def test_a_nudge_whose_looks_all_failed_is_kept_long_before_it_expires(stacks: dict[str, Template]) -> None:
    triggers, root = stacks["Triggers"], stacks[""]
    queue = triggers["JobNudgesQueue"]["Properties"]
    assert triggers["JobNudgesMapping"]["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == LOST
    assert queue["VisibilityTimeout"] >= root["ReconcileFunction"]["Properties"]["Timeout"]
    assert queue["RedrivePolicy"]["maxReceiveCount"] >= 5  # a throttle is a receipt, too
    given_up = queue["RedrivePolicy"]["maxReceiveCount"] * queue["VisibilityTimeout"]
    assert given_up <= queue["MessageRetentionPeriod"] / 4


def test_reconcile_keeps_what_it_cannot_read_where_failed_invocations_are_kept(root: Template) -> None:
    variables = root["ReconcileFunction"]["Properties"]["Environment"]["Variables"]
    assert variables["DEAD_LETTERS_URL"].endswith("/bp-staging-failed-invocations")
    assert "bp-staging-failed-invocations" in str(root["ReconcileFunctionRole"]["Properties"]["Policies"])


def test_only_its_rule_may_send_to_the_queue_of_nudges(stacks: dict[str, Template]) -> None:
    triggers = stacks["Triggers"]
    [statement] = triggers["JobNudgesQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Resource"].endswith(":bp-staging-job-nudges")
    assert statement["Condition"]["ArnEquals"]["aws:SourceArn"].endswith("bp-staging-job-queued")
    assert triggers["JobNudgesQueue"]["Properties"]["SqsManagedSseEnabled"] is True


def test_a_helper_of_the_backend_that_stays_away_wakes_the_operators(stacks: dict[str, Template]) -> None:
    monitoring, compute = stacks["Monitoring"], stacks["Compute"]
    [alarm] = [a for name, a in alarms_of(monitoring).items() if name == "p2-helper-stopped"]
    queue = monitoring["HelperStoppedQueue"]["Properties"]["QueueName"]
    # The second one rings although the first still lies there; and what an idle queue counts is told too late.
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Events", "Invocations")
    assert alarm["Dimensions"] == [{"Name": "RuleName", "Value": "bp-staging-helper-stopped"}]
    assert alarm["AlarmActions"] == [f"{TOPIC}ops-alerts"]
    assert queue == "bp-staging-stopped-helpers"
    assert queue in alarm["AlarmDescription"]
    [statement] = monitoring["HelperStoppedQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Condition"]["ArnEquals"]["aws:SourceArn"].endswith("bp-staging-helper-stopped")
    helpers = {c["Name"] for c in compute["BackendTask"]["Properties"]["ContainerDefinitions"] if not c["Essential"]}
    pattern = monitoring["HelperStoppedRule"]["Properties"]["EventPattern"]
    assert set(pattern["detail"]["containers"]["name"]) == helpers


def test_metrics_are_published_each_minute_about_the_minute_that_was_due(stacks: dict[str, Template]) -> None:
    [rule] = [rule for rule in rules(stacks) if rule.get("Name") == "bp-staging-publish-metrics"]
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    [target] = rule["Targets"]
    assert target["InputTransformer"] == {
        "InputPathsMap": {"time": "$.time"},
        "InputTemplate": '{"period_seconds": 60, "time": "<time>"}',
    }
    assert target["Arn"].endswith(":function:bp-staging-publish-metrics")


def test_the_schedule_may_invoke_its_function_and_nobody_else_by_its_name(stacks: dict[str, Template]) -> None:
    permission = stacks["Triggers"]["PublishMetricsSchedulePermission"]["Properties"]
    assert (permission["Action"], permission["Principal"]) == ("lambda:InvokeFunction", "events.amazonaws.com")
    assert permission["FunctionName"].endswith(":function:bp-staging-publish-metrics")
    assert permission["SourceArn"].endswith("bp-staging-publish-metrics")


def test_one_environment_knows_which_minutes_it_has_told(stacks: dict[str, Template]) -> None:
    assert stacks[""]["PublishMetricsFunction"]["Properties"]["ReservedConcurrentExecutions"] == 1


@pytest.mark.parametrize(
    ("name", "metric", "threshold"),
    [("capacity-blocked", "CapacityBlockedSeconds", 600), ("launch-breaker", "LaunchBreakerOpen", 1)],
)
def test_launches_that_fail_wake_the_operators(
    stacks: dict[str, Template], name: str, metric: str, threshold: int
) -> None:
    alarm = alarms_of(stacks["Fleetfaceswap"])[f"face-swap-{name}"]
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Threshold"]) == ("FleetControl", metric, threshold)
    assert {d["Name"]: d["Value"] for d in alarm["Dimensions"]} == {"Stage": "staging", "WorkflowSlug": "face-swap"}
    assert (alarm["Statistic"], alarm["TreatMissingData"]) == ("Maximum", "notBreaching")
    assert alarm["AlarmActions"] == alarm["OKActions"] == [f"{TOPIC}ops-alerts"]
