"""Deploys rendered templates: CloudFormation on moto, then what moto cannot do, in the order AWS would."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moto.cloudformation.models import cloudformation_backends
from moto.cloudformation.parsing import clean_json, get_model_map

from lab.cloud import custom, supply
from lab.cloud.aws import Cloud
from lab.cloud.functions import Function, LambdaService
from lab.cloud.names import ACCOUNT, REGION, function_name
from lab.cloud.queues import QueueMapping
from lab.render import is_looked_up

BUCKET = "lab-templates"
READ_BY_THE_LAB = ("AWS::Lambda::Function", "AWS::Lambda::EventSourceMapping")
"""moto knows them, too; the lab needs their properties."""
Template = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    """A resource of a deployed stack, its properties with every reference resolved."""

    logical_id: str
    kind: str
    properties: dict[str, Any]
    source: dict[str, Any]


class Deployment:
    """Stacks made from one rendered template. `overrides` are environment variables above the template's.

    `database` is the one that stands for RDS: engine, host, port, its master's username and password.
    """

    def __init__(self, cloud: Cloud, root: Path, overrides: Mapping[str, str], database: Mapping[str, Any]) -> None:
        self._cloud, self._root, self._overrides, self._database = cloud, root, dict(overrides), dict(database)
        self._templates: dict[str, Template] = {}
        cloud.client("s3").create_bucket(Bucket=BUCKET)

    def create(self, name: str, template: Template, parameters: Mapping[str, str]) -> None:
        """Create the stack with all it nests, warm functions, and then the custom resources.

        Raises NotImplementedError for a resource type that neither moto nor the lab knows, CustomResourceError.
        """
        body = self._prepared(name, template)
        given = [
            {"ParameterKey": key, "ParameterValue": value}
            for key, value in parameters.items()
            if key in template["Parameters"] and not is_looked_up(template["Parameters"][key])
        ]
        formation = self._cloud.client("cloudformation")
        formation.create_stack(StackName=name, TemplateBody=json.dumps(body), Parameters=given)
        with self._cloud.lock:
            stack = cloudformation_backends[ACCOUNT][REGION].get_stack(name)
            resources = list(self._resources(stack, template))
            for resource in resources:
                if make := supply.SUPPLIED.get(resource.kind) or supply.COMPLETED.get(resource.kind):
                    make(resource.properties)
                elif resource.kind == supply.ATTACHMENT:
                    supply.attach_secret(resource.properties, self._database)
        self._add_functions(resources)
        self._run_custom_resources(resources)
        for resource in resources:
            if resource.kind == "AWS::Lambda::EventSourceMapping":
                self._cloud.pollers.add(QueueMapping.of(resource.properties, self._cloud.retry_scale))

    def _prepared(self, name: str, template: Template) -> Template:
        """The body for moto; nested templates go to the bucket, as `sam deploy` puts them."""
        body = supply.for_moto(copy.deepcopy(template))
        for logical_id, resource in body["Resources"].items():
            self._require_known(resource["Type"])
            if resource["Type"] == "AWS::CloudFormation::Stack":
                key = f"{name}-{logical_id}.json"
                nested = self._prepared(key, template["Resources"][logical_id]["Metadata"]["Template"])
                self._cloud.client("s3").put_object(Bucket=BUCKET, Key=key, Body=json.dumps(nested))
                resource["Properties"]["TemplateURL"] = f"https://s3.amazonaws.com/{BUCKET}/{key}"
        return body

    @staticmethod
    def _require_known(kind: str) -> None:
        if kind not in get_model_map():
            raise NotImplementedError(f"neither moto nor the lab can create {kind}: supply or skip it")

    def _resources(self, stack: Any, template: Template) -> Iterator[Resource]:
        conditions = stack.resource_map.lazy_condition_map
        for logical_id, source in template["Resources"].items():
            if "Condition" in source and not conditions[source["Condition"]]:
                continue
            if source["Type"] == "AWS::CloudFormation::Stack":
                yield from self._resources(stack.resource_map[logical_id], source["Metadata"]["Template"])
                continue
            needed = source["Type"] in READ_BY_THE_LAB or source["Type"] in supply.COMPLETED
            if needed or source["Type"] not in get_model_map():
                told = {key: value for key, value in source.get("Properties", {}).items() if key != "Layers"}
                properties = clean_json(copy.deepcopy(told), stack.resource_map)
                yield Resource(logical_id, source["Type"], properties, source)

    def _add_functions(self, resources: list[Resource]) -> None:
        service = self._cloud.functions
        if not isinstance(service, LambdaService):
            return
        configs = {
            function_name(resource.properties["FunctionName"]): resource.properties
            for resource in resources
            if resource.kind == "AWS::Lambda::EventInvokeConfig"
        }
        for resource in resources:
            if resource.kind == "AWS::Lambda::Function":
                name = resource.properties["FunctionName"]
                service.add(self._function(resource, configs.get(name, {})))
        self._cloud.calls.know(service.names())
        service.warm()

    def _function(self, resource: Resource, config: dict[str, Any]) -> Function:
        properties = resource.properties
        variables = properties.get("Environment", {}).get("Variables", {})
        reserved = properties.get("ReservedConcurrentExecutions")
        return Function(
            name=properties["FunctionName"],
            code_dir=self._root / resource.source["Metadata"]["SourceFolder"],
            handler=properties["Handler"],
            timeout=float(properties.get("Timeout", 3)),
            memory=int(properties.get("MemorySize", 128)),
            reserved=None if reserved is None else int(reserved),
            variables={key: str(value) for key, value in variables.items()} | self._overrides,
            retries=int(config.get("MaximumRetryAttempts", 2)),
            event_age=float(config.get("MaximumEventAgeInSeconds", 21_600)),
            dead_letter_arn=properties.get("DeadLetterConfig", {}).get("TargetArn"),
            on_failure_arn=config.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination"),
        )

    def _run_custom_resources(self, resources: list[Resource]) -> None:
        with custom.response_desk() as desk:
            for resource in resources:
                if supply.is_custom(resource.kind):
                    about = (resource.logical_id, resource.kind, resource.properties)
                    answer = custom.create(self._cloud.functions, desk, *about)
                    self._cloud.journal.write("custom_resource", id=resource.logical_id, answer=answer)
