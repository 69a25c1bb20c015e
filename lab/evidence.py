"""What a stage can only be asked while it lives, kept in `evidence/`: where else a secret could turn up."""

from __future__ import annotations

import json
from typing import Any

from moto.stepfunctions.parser.models import stepfunctions_parser_backends

from lab.cloud.functions import LambdaService
from lab.cloud.names import ACCOUNT, REGION
from lab.secrecy import SIGNED
from lab.world import ROOT, World

SIGNED_ADDRESS = "signed address of CloudFormation"
ALLOWED = {SIGNED_ADDRESS: ("invocations.jsonl",)}
"""CloudFormation's event holds the address; it must go no further."""


def keep(world: World) -> None:
    """Histories of executions, environments of functions, templates, and what lies in the queues, one file each."""
    folder = world.run_dir / "evidence"
    folder.mkdir(exist_ok=True)
    kept = {
        "histories": histories(),
        "environments": environments(world),
        "templates": templates(world),
        "queues": queues(world),
    }
    for name, content in kept.items():
        (folder / f"{name}.json").write_text(json.dumps(content, default=str, indent=1), encoding="utf-8")


def secrets_of(world: World) -> dict[str, str]:
    """Every secret of the stage by what it is, made by the lab or by the deployment itself."""
    manager, parameters = world.cloud.client("secretsmanager"), world.cloud.client("ssm")
    fleet = parameters.get_parameter(Name=f"/bp/{world.stage}/fleet-secret", WithDecryption=True)
    ours = manager.get_secret_value(SecretId=f"/bp/{world.stage}/rds/fleet-control")["SecretString"]
    return {
        "password of the master": world.database.master.password,
        "password of root": world.database.root.password,
        "password of the backend": world.database.backend.password,
        "password of fleet_control": json.loads(ours)["password"],
        "fleet secret": fleet["Parameter"]["Value"],
        SIGNED_ADDRESS: SIGNED,
    }


def histories() -> list[Any]:
    """The history of every execution of every machine, Express ones too, as GetExecutionHistory tells it."""
    machines = stepfunctions_parser_backends[ACCOUNT][REGION].state_machines
    return [
        {"execution": execution.execution_arn, "events": execution.to_history_output()["events"]}
        for machine in machines
        for execution in machine.executions
    ]


def environments(world: World) -> dict[str, Any]:
    """The variables of each function, as deployed and as its processes have them."""
    functions = world.cloud.client("lambda").list_functions()["Functions"]
    service = world.cloud.functions
    assert isinstance(service, LambdaService)
    deployed = {function["FunctionName"]: function["Environment"] for function in functions}
    return {"deployed": deployed, "processes": service.variables()}


def templates(world: World) -> dict[str, Any]:
    """The sources with their defaults, what was deployed of them, and the parameters that were given."""
    formation = world.cloud.client("cloudformation")
    stacks = formation.describe_stacks()["Stacks"]
    sources = [ROOT / "template.yaml", ROOT / "samconfig.toml", *sorted((ROOT / "stacks").glob("*.yaml"))]
    return {
        "given": {stack["StackName"]: stack.get("Parameters", []) for stack in stacks},
        "deployed": {s["StackName"]: formation.get_template(StackName=s["StackName"])["TemplateBody"] for s in stacks},
        "sources": {path.name: path.read_text(encoding="utf-8") for path in sources},
    }


def queues(world: World) -> list[str]:
    """The bodies in the queues of failed invocations and undelivered events; they stay there, unseen for a while."""
    api = world.cloud.client("sqs")
    urls = api.list_queues().get("QueueUrls", [])
    return [
        message["Body"]
        for url in urls
        for _ in range(5)
        for message in api.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=600).get(
            "Messages", []
        )
    ]
