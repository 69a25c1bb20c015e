"""The pipelines' scripts, run with stand-ins for aws and docker."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.image.stubs import Desk

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts/pipeline"


def run(desk: Desk, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return desk.run("/bin/bash", SCRIPTS / script, *arguments, cwd=ROOT, AWS_REGION="us-east-1", **environment)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "bin")


def aws(desk: Desk, **answers: str) -> None:
    """Answers by the call's operation, dashes as underscores; what is not named answers nothing."""
    cases = " ".join(f"{name.replace('_', '-')}) {answer} ;;" for name, answer in answers.items())
    desk.command("aws", f'case "$2" in {cases} esac')


# ---- Images ------------------------------------------------------------------------------------------------
def push(desk: Desk, machine: str = "aarch64") -> subprocess.CompletedProcess[str]:
    aws(desk, get_caller_identity="echo 123456789012", get_login_password="echo password")
    desk.command("docker", "[ $1 != login ] || cat > /dev/null")
    desk.command("uname", f"echo {machine}")
    return run(desk, "push-image.sh", "bp-backend-staging", "nginx-", "abc123", "--file", "a file", "docker/backend")


def test_an_image_goes_under_its_commit_and_under_the_name_that_tasks_run(desk: Desk) -> None:
    assert push(desk).returncode == 0
    [build] = [call for call in desk.calls if call.startswith("docker buildx")]
    image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/bp-backend-staging"
    assert f"--tag {image}:nginx-abc123 --tag {image}:nginx-current --push --file a file docker/backend" in build


def test_the_registrys_password_is_not_an_argument(desk: Desk) -> None:
    push(desk)
    assert "docker login --username AWS --password-stdin 123456789012.dkr.ecr.us-east-1.amazonaws.com" in desk.calls


def test_an_image_for_another_architecture_is_not_pushed(desk: Desk) -> None:
    done = push(desk, machine="x86_64")
    assert done.returncode == 1
    assert "ARM64" in done.stderr
    assert not any("buildx" in call for call in desk.calls)


# ---- Services ----------------------------------------------------------------------------------------------
def test_both_services_are_deployed_and_waited_for(desk: Desk) -> None:
    aws(desk, update_service="echo ecs-svc/1", describe_services="echo ecs-svc/1")
    assert run(desk, "deploy-services.sh", "staging").returncode == 0
    updates = [call.split(" --query")[0] for call in desk.calls if "update-service" in call]
    assert updates == [
        f"aws ecs update-service --cluster bp-staging --service bp-staging-{name} --force-new-deployment"
        for name in ("backend", "frontend")
    ]
    assert (
        "aws ecs wait services-stable --cluster bp-staging --services bp-staging-backend bp-staging-frontend"
        in desk.calls
    )


def test_a_release_that_was_rolled_back_is_a_failure(desk: Desk) -> None:
    aws(desk, update_service="echo ecs-svc/2", describe_services="echo ecs-svc/1")
    done = run(desk, "deploy-services.sh", "staging")
    assert done.returncode == 1
    assert "rolled back" in done.stderr


# ---- Migrations --------------------------------------------------------------------------------------------
def migrate(
    desk: Desk,
    *,
    code: str = "0",
    task: str = "arn:task/1",
    grants: str = "None",
    stage: str = "staging",
    wait: str = "true",
) -> subprocess.CompletedProcess[str]:
    network = '{"awsvpcConfiguration": {"subnets": ["subnet-1"]}}'
    aws(
        desk,
        describe_services=f"if [[ $* == *networkConfiguration* ]]; then echo '{network}'; else echo arn:def/7; fi",
        run_task=f"echo {task}",
        wait=wait,
        describe_tasks=f"if [[ $* == *exitCode* ]]; then echo {code}; else echo 'Essential container exited'; fi",
        invoke=f'echo {grants}; echo "the answer" > "${{!#}}"',
    )
    return run(desk, "migrate.sh", stage)


def test_migrations_are_one_task_of_the_services_own_definition_and_network(desk: Desk) -> None:
    assert migrate(desk).returncode == 0
    [call] = [call for call in desk.calls if "run-task" in call]
    assert "--task-definition arn:def/7" in call
    assert '--network-configuration {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}' in call
    overrides = json.loads(call.split("--overrides ")[1].split(" --started-by")[0])
    assert overrides["containerOverrides"] == [{"name": "php-fpm", "command": ["php", "artisan", "migrate", "--force"]}]


def test_a_migration_of_more_than_ten_minutes_is_waited_for(desk: Desk, tmp_path: Path) -> None:
    """The command line's wait gives up after 100 looks, 6 s apart, while the task runs on."""
    count = tmp_path / "waits"
    wait = f"echo >> {count}; [ $(wc -l < {count}) -ge 2 ] || exit 255"
    assert migrate(desk, wait=wait).returncode == 0
    assert len(count.read_text().splitlines()) == 2


def test_new_tables_are_granted_after_the_migration(desk: Desk) -> None:
    done = migrate(desk)
    names = [call.split()[2] for call in desk.calls]
    assert names.index("invoke") > names.index("describe-tasks")
    assert "the answer" in done.stdout


@pytest.mark.parametrize("stage", ["staging", "production"])
def test_grants_are_asked_for_with_the_stages_own_secret(desk: Desk, stage: str) -> None:
    assert migrate(desk, stage=stage).returncode == 0
    [call] = [call for call in desk.calls if "invoke" in call]
    payload = json.loads(call.split("--payload ")[1].split(" --query")[0])
    assert payload["ResourceProperties"]["FleetControlSecretId"] == f"/bp/{stage}/rds/fleet-control"


@pytest.mark.parametrize(("code", "expected"), [("1", 1), ("255", 255), ("None", 1)])
def test_a_failed_migration_fails_with_its_code_and_grants_nothing(desk: Desk, code: str, expected: int) -> None:
    done = migrate(desk, code=code)
    assert done.returncode == expected
    assert "/ecs/bp-staging-backend" in done.stderr
    assert not any("invoke" in call for call in desk.calls)


@pytest.mark.parametrize("trouble", [{"task": "None"}, {"grants": "Unhandled"}], ids=["no task", "no grants"])
def test_what_did_not_happen_is_a_failure(desk: Desk, trouble: dict[str, str]) -> None:
    assert migrate(desk, **trouble).returncode == 1


# ---- Machine images ----------------------------------------------------------------------------------------
def store(desk: Desk, place: Path, artifact: str, stored: str) -> subprocess.CompletedProcess[str]:
    manifest = place / "image.json"
    manifest.write_text(json.dumps({"builds": [{"artifact_id": "us-east-1:ami-0old"}, {"artifact_id": artifact}]}))
    aws(desk, get_parameter=stored)
    environment = {"STORE_AMI_TRIES": "3", "STORE_AMI_PAUSE": "0"}
    return run(desk, "store-ami.sh", "staging", "image-to-video", str(manifest), **environment)


def test_the_newest_image_is_stored_as_an_image(desk: Desk, tmp_path: Path) -> None:
    done = store(desk, tmp_path, "us-east-1:ami-0123456789abcdef0", "echo ami-0123456789abcdef0")
    assert done.returncode == 0, done.stderr
    [put] = [call for call in desk.calls if "put-parameter" in call]
    assert "--name /bp/staging/ami/image-to-video --value ami-0123456789abcdef0" in put
    assert "--data-type aws:ec2:image --overwrite" in put


def test_an_image_that_parameter_store_does_not_take_is_a_failure(desk: Desk, tmp_path: Path) -> None:
    done = store(desk, tmp_path, "us-east-1:ami-0123456789abcdef0", "echo ami-0ffffffffffffffff")
    assert done.returncode == 1
    assert "has not taken ami-0123456789abcdef0" in done.stderr


def test_what_is_no_image_is_not_stored(desk: Desk, tmp_path: Path) -> None:
    assert store(desk, tmp_path, "us-east-1:None", "echo").returncode == 1
    assert desk.calls == []
