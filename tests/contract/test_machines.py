"""Executions against emulated Step Functions: one name, one execution."""

from __future__ import annotations

import boto3
import pytest
from botocore.stub import Stubber
from fleet_control.act.machines import Machine
from fleet_control.errors import Blind

from .account import create_machine, executions


@pytest.fixture
def arn(aws: None) -> str:
    return create_machine()


@pytest.fixture
def machine(arn: str) -> Machine:
    return Machine(boto3.client("stepfunctions"), arn)


def test_an_execution_starts_once_under_its_name(machine: Machine, arn: str) -> None:
    assert machine.start("i-1-7-0", {"drain": {"look_seconds": 3}})
    assert not machine.start("i-1-7-0", {"drain": {"look_seconds": 5}})
    assert executions(arn) == {"i-1-7-0": {"drain": {"look_seconds": 3}}}


def test_an_execution_that_has_ended_does_not_start_again(machine: Machine, arn: str) -> None:
    machine.start("i-1-7-0", {})
    _stop(arn)
    assert not machine.start("i-1-7-0", {})
    assert machine.running() == frozenset()


def _stop(arn: str) -> None:
    api = boto3.client("stepfunctions")
    (found,) = api.list_executions(stateMachineArn=arn)["executions"]
    api.stop_execution(executionArn=found["executionArn"])


def test_running_executions_are_seen_by_name_beyond_one_page(machine: Machine) -> None:
    names = {f"i-{n}-7-0" for n in range(105)}
    for name in names:
        machine.start(name, {})
    assert machine.running() == names


def test_a_failed_execution_is_remembered_by_its_name(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SF_EXECUTION_HISTORY_TYPE", "FAILURE")  # the emulator's word for: executions fail
    machine.start("asg-staging-a-v2-0", {})
    assert machine.failed() == {"asg-staging-a-v2-0"}
    assert machine.running() == frozenset()


def test_an_aborted_execution_has_not_failed(machine: Machine, arn: str) -> None:
    machine.start("asg-staging-a-v2-0", {})
    _stop(arn)
    assert machine.failed() == frozenset()


def test_executions_that_cannot_be_listed_mean_blind(machine: Machine) -> None:
    with Stubber(machine._client) as answers:
        answers.add_client_error("list_executions", "AccessDeniedException", "no")
        with pytest.raises(Blind, match="states:ListExecutions failed"):
            machine.running()
