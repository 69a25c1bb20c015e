"""The pipelines: against their schema, an auditor of workflows, and the house's own rules."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.iam.resolve import Stack
from lab.render import render

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TOOLS = Path(sys.executable).parent
BY_HAND = {"infrastructure", "migrations"}


def read(name: str) -> dict[str, Any]:
    """`on` is read as the boolean that YAML 1.1 takes it for."""
    content: dict[Any, Any] = yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text())
    return {("on" if key is True else str(key)): value for key, value in content.items()}


def jobs() -> list[tuple[str, str, dict[str, Any]]]:
    return [(path.stem, name, job) for path in WORKFLOWS for name, job in read(path.stem)["jobs"].items()]


def tool(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TOOLS / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)


def steps_of(job: dict[str, Any]) -> str:
    return "\n".join(str(step.get("run", "")) for step in job["steps"])


@pytest.mark.parametrize("schema", ["vendor.github-workflows", "custom.github-workflows-require-timeout"])
def test_workflows_keep_to_the_schema(schema: str) -> None:
    done = tool("check-jsonschema", "--builtin-schema", schema, *WORKFLOWS)
    assert len(WORKFLOWS) == 3
    assert done.returncode == 0, done.stdout


def test_the_auditor_finds_nothing() -> None:
    """With its strictest rules that do not need the network; what is ignored says why where it stands."""
    done = tool("zizmor", "--offline", "--no-progress", "--color=never", "--persona=pedantic", ".github/workflows")
    assert done.returncode == 0, done.stdout
    ignored = [line for path in WORKFLOWS for line in path.read_text().splitlines() if "zizmor: ignore" in line]
    assert all(re.search(r"zizmor: ignore\[[a-z-]+\] - \w", line) for line in ignored)


def test_actions_are_pinned_to_a_commit_and_say_its_version() -> None:
    used = [line.strip() for path in WORKFLOWS for line in path.read_text().splitlines() if "uses:" in line]
    assert used
    assert [line for line in used if not re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)] == []


@pytest.mark.parametrize(("workflow", "name", "job"), jobs(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_job_may_read_the_source_and_at_most_ask_for_a_token(workflow: str, name: str, job: dict[str, Any]) -> None:
    assert read(workflow)["permissions"] == {}
    allowed = {"contents": "read", "id-token": "write"} if "environment" in job else {"contents": "read"}
    assert job["permissions"] == allowed


@pytest.mark.parametrize(("workflow", "name", "job"), jobs(), ids=lambda value: value if isinstance(value, str) else "")
def test_whoever_speaks_to_aws_does_so_behind_an_environment(workflow: str, name: str, job: dict[str, Any]) -> None:
    assumes = [step for step in job["steps"] if "configure-aws-credentials" in step.get("uses", "")]
    assert len(assumes) == ("environment" in job)
    for step in assumes:
        assert step["with"]["role-to-assume"] == "${{ vars.ROLE_ARN }}"
        assert not {"aws-access-key-id", "aws-secret-access-key"} & step["with"].keys()


def test_no_workflow_holds_a_key() -> None:
    text = "\n".join(path.read_text() for path in WORKFLOWS)
    assert set(re.findall(r"secrets\.(\w+)", text)) == {"APPLICATION_TOKEN"}


def test_what_changes_the_stage_itself_is_started_by_hand_only() -> None:
    deploy = read("deploy")["jobs"]
    for name in BY_HAND:
        assert "github.event_name == 'workflow_dispatch'" in deploy[name]["if"]
        assert f"inputs.{name}" in deploy[name]["if"]
        assert deploy[name]["environment"] == f"${{{{ inputs.stage }}}}-{name}"
    assert read("deploy")["on"]["workflow_dispatch"]["inputs"]["infrastructure"]["default"] is False


def test_a_push_reaches_staging_only() -> None:
    deploy = read("deploy")
    assert deploy["on"]["push"] == {"branches": ["main"]}
    assert deploy["env"]["STAGE"] == "${{ inputs.stage || 'staging' }}"


def test_nothing_is_deployed_that_has_not_passed_its_tests() -> None:
    deploy = read("deploy")["jobs"]
    assert deploy["build"]["needs"] == ["test-backend", "test-frontend"]
    assert "needs.build.result == 'success'" in deploy["services"]["if"]
    assert "!contains(needs.*.result, 'failure')" in deploy["services"]["if"]


def test_images_are_built_on_the_architecture_that_fargate_runs() -> None:
    assert read("deploy")["jobs"]["build"]["runs-on"].endswith("-arm")


@pytest.mark.parametrize("name", ["deploy", "build-ami"])
def test_a_deployment_is_neither_doubled_nor_cut_off(name: str) -> None:
    assert "inputs.stage" in read(name)["concurrency"]["group"]
    assert read(name)["concurrency"]["cancel-in-progress"] is False


def test_images_are_baked_by_hand_for_a_named_workflow() -> None:
    trigger = read("build-ami")["on"]
    assert list(trigger) == ["workflow_dispatch"]
    assert trigger["workflow_dispatch"]["inputs"]["workflow_slug"]["required"] is True


def test_every_variable_that_packer_is_given_is_one_that_it_has() -> None:
    [job] = read("build-ami")["jobs"].values()
    given = {name.removeprefix("PKR_VAR_") for name in job["env"] if name.startswith("PKR_VAR_")}
    declared = set(re.findall(r'^variable "(\w+)"', (ROOT / "packer/variables.pkr.hcl").read_text(), re.MULTILINE))
    assert given
    assert given <= declared


@pytest.mark.parametrize(("workflow", "name", "job"), jobs(), ids=lambda value: value if isinstance(value, str) else "")
def test_no_expression_is_pasted_into_a_script(workflow: str, name: str, job: dict[str, Any]) -> None:
    assert "${{" not in steps_of(job)


def test_every_file_that_a_workflow_names_is_there() -> None:
    named = {path for _, _, job in jobs() for path in re.findall(r"(?:scripts|docker|layers)/[\w./-]+", steps_of(job))}
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_ci_runs_the_readmes_command() -> None:
    assert "make test" in steps_of(read("ci")["jobs"]["test"]).splitlines()
    assert re.search(r"^    make test ", (ROOT / "README.md").read_text(), re.MULTILINE)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", "\n".join(steps_of(job) for _, _, job in jobs()))) <= targets


def test_the_application_is_tested_on_what_it_runs_on() -> None:
    deploy = read("deploy")["jobs"]
    assert "= 8.3 ]" in steps_of(deploy["test-backend"])
    assert deploy["test-backend"]["services"]["mariadb"]["image"] == "mariadb:10.11"
    [node] = [step["with"] for step in deploy["test-frontend"]["steps"] if "setup-node" in step.get("uses", "")]
    assert node["node-version"] == 20
    assert "pnpm install --frozen-lockfile" in steps_of(deploy["test-frontend"])


def test_the_applications_repository_is_a_variable() -> None:
    found = re.findall(r"^ +repository: (.*)", (ROOT / ".github/workflows/deploy.yml").read_text(), re.MULTILINE)
    assert set(found) == {"${{ vars.APPLICATION_REPOSITORY }}"}


def roles() -> dict[str, dict[str, Any]]:
    """Roles of the pipelines by logical id, resolved for staging."""
    parameters = {"Stage": "staging", "GitHubRepository": "owner/name", "GitHubOidcProviderArn": "arn:oidc"}
    resources = Stack(render(ROOT / "stacks/pipeline.yaml", parameters), parameters).resources()
    return {name: r["Properties"] for name, r in resources.items() if r["Type"] == "AWS::IAM::Role"}


def subjects() -> dict[str, str]:
    """Role by the only subject of GitHub's that may assume it."""
    statements = {name: role["AssumeRolePolicyDocument"]["Statement"][0] for name, role in roles().items()}
    return {
        statement["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"]: name
        for name, statement in statements.items()
        if "Federated" in statement["Principal"]
    }


def test_every_environment_of_its_own_has_a_role_that_no_other_can_assume() -> None:
    own = {job["environment"] for _, _, job in jobs() if "}}-" in job.get("environment", "")}
    expected = {f"repo:owner/name:environment:{name.replace('${{ inputs.stage }}', 'staging')}" for name in own}
    assert subjects().keys() == expected


def test_a_session_is_as_long_as_its_job_asks_for() -> None:
    for workflow, name in (("deploy", "infrastructure"), ("build-ami", "image")):
        [step] = [s for s in read(workflow)["jobs"][name]["steps"] if "configure-aws-credentials" in s.get("uses", "")]
        role = roles()[subjects()[f"repo:owner/name:environment:staging-{name}"]]
        assert step["with"]["role-duration-seconds"] <= role["MaxSessionDuration"]
        assert read(workflow)["jobs"][name]["timeout-minutes"] * 60 <= role["MaxSessionDuration"]


def test_the_image_that_is_baked_may_replace_no_other_stages() -> None:
    statements = roles()["ImageRole"]["Policies"][0]["PolicyDocument"]["Statement"]
    [put] = [s for s in statements if "ssm:PutParameter" in s["Action"]]
    assert put["Resource"].endswith(":parameter/bp/staging/ami/*")
    ending = [s for s in statements if {"ec2:TerminateInstances", "ec2:DeregisterImage"} & set(s["Action"])]
    assert len(ending) == 2
    assert all("Condition" in statement for statement in ending)


def test_the_packer_that_judges_the_template_is_the_one_that_bakes() -> None:
    steps = [step for name in ("ci", "build-ami") for job in read(name)["jobs"].values() for step in job["steps"]]
    used = [(step["uses"], step["with"]["version"]) for step in steps if "setup-packer" in step.get("uses", "")]
    assert len(used) == 2
    assert len(set(used)) == 1
