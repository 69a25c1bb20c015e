"""Templates as CloudFormation sees them: loops unrolled, SAM translated, state machines and nested stacks inline.

The same expansion and translation that `sam deploy` has AWS do, run offline by the same libraries. What comes out is
plain CloudFormation that an emulator can create; nothing in it is restated or changed but where code is found.
"""

import re
from collections.abc import Mapping
from copy import deepcopy
from os.path import normpath
from pathlib import Path
from typing import Any

from boto3.session import Session
from samcli.lib.cfn_language_extensions.sam_integration import expand_language_extensions
from samcli.yamlhelper import yaml_parse
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

Template = dict[str, Any]

PSEUDO_PARAMETERS = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::URLSuffix": "amazonaws.com",
}
SERVERLESS = "AWS::Serverless-2016-10-31"
PUBLISHED = "ami-0123456789abcdef0"
"""What Parameter Store answers for a template's parameter whose default is the name of a public one."""


def render(path: Path, parameters: Mapping[str, str]) -> Template:
    """The CloudFormation template of a stack file with these parameter values (lists as comma separated strings).

    - A function's code is a stand-in; its folder is `Metadata.SourceFolder`, relative to the root template.
    - A state machine's `DefinitionString` is `Fn::Sub` of [its ASL file, byte for byte, its substitutions].
    - A nested stack's rendered template is `Metadata.Template`; its `TemplateURL` is the path of its file.

    Raises ValueError naming a parameter that is unknown, or that has neither value nor default.
    """
    source = yaml_parse(path.read_text())
    values = parameter_values(source, parameters)
    return translate(expand(source, values), values, path.parent)


def expand(source: Template, values: Mapping[str, str]) -> Template:
    """The template without loops and the like.

    The library replaces what it knows in an Fn::Sub, and drops the Fn::Sub also when there is more: that is put back.
    """
    expanded = expand_language_extensions(source, parameter_values=PSEUDO_PARAMETERS | dict(values), enabled=True)
    template: Template = deepcopy(expanded.expanded_template)
    names = "|".join(map(re.escape, [*template["Resources"], *template.get("Parameters", {})]))
    left_over = re.compile(rf"\$\{{(?:{names})(?:\.[\w.]+)?\}}")
    for section in template.keys() & {"Resources", "Outputs"}:
        template[section] = with_subs(template[section], left_over)
    return template


def with_subs(node: Any, left_over: re.Pattern[str]) -> Any:
    if isinstance(node, str):
        return {"Fn::Sub": node} if left_over.search(node) else node
    if isinstance(node, list):
        return [with_subs(item, left_over) for item in node]
    if isinstance(node, dict):
        return {key: item if key == "Fn::Sub" else with_subs(item, left_over) for key, item in node.items()}
    return node


def parameter_values(source: Template, given: Mapping[str, str]) -> dict[str, str]:
    """Given values over the template's defaults, all as strings."""
    declared = source.get("Parameters", {})
    if unknown := given.keys() - declared.keys():
        raise ValueError(f"unknown parameters: {', '.join(sorted(unknown))}")
    defaults = {name: default(spec) for name, spec in declared.items() if "Default" in spec}
    if missing := declared.keys() - defaults.keys() - given.keys():
        raise ValueError(f"parameters without a value: {', '.join(sorted(missing))}")
    return defaults | dict(given)


def default(spec: Template) -> str:
    return PUBLISHED if is_looked_up(spec) else str(spec["Default"])


def is_looked_up(spec: Template) -> bool:
    """Whether the parameter's value is the name of another, in Parameter Store, that has the value."""
    return str(spec["Type"]).startswith("AWS::SSM::Parameter::Value")


def translate(template: Template, values: Mapping[str, str], folder: Path) -> Template:
    """SAM resources become CloudFormation's; local files are taken out before and put back in after."""
    template.pop("Transform", None)
    resources = template["Resources"]
    definitions = {name: take_definition(resource, folder) for name, resource in of_type(resources, "StateMachine")}
    folders = {name: take_folder(resource, "CodeUri") for name, resource in of_type(resources, "Function")}
    layers = [take_folder(resource, "ContentUri") for _, resource in of_type(resources, "LayerVersion")]
    for _, resource in of_type(resources, "Application"):
        nest(resource, folder)
    if definitions or folders or layers:
        template = from_sam({**template, "Transform": SERVERLESS}, values)
    for name, definition in definitions.items():
        put_definition(template["Resources"][name], *definition)
    for name, source in folders.items():
        put_code(template["Resources"][name], source)
    return template


def from_sam(template: Template, values: Mapping[str, str]) -> Template:
    """What the Serverless transform makes of a template. Managed policies are given by ARN or known to SAM."""
    region = Session(region_name=PSEUDO_PARAMETERS["AWS::Region"])
    translator = Translator(None, Parser(), boto_session=region)
    translated: Template = translator.translate(template, dict(values), get_managed_policy_map=dict)
    translator.metrics.publish()  # to nobody; what is not published is complained of on the screen
    return translated


def of_type(resources: Template, kind: str) -> list[tuple[str, Template]]:
    return [(name, r) for name, r in resources.items() if r["Type"] == f"AWS::Serverless::{kind}"]


def take_definition(machine: Template, folder: Path) -> tuple[str, Template]:
    """The ASL text and its substitutions; SAM gets a stand-in, because it reads definitions from S3 only."""
    properties = machine["Properties"]
    definition = (folder / properties.pop("DefinitionUri")).read_text()
    properties["Definition"] = {"StartAt": "StandIn", "States": {"StandIn": {"Type": "Succeed"}}}
    return definition, properties.pop("DefinitionSubstitutions")


def put_definition(machine: Template, definition: str, substitutions: Template) -> None:
    machine["Properties"]["DefinitionString"] = {"Fn::Sub": [definition, substitutions]}


def take_folder(resource: Template, key: str) -> str:
    """The local folder of a function's or a layer's code; SAM gets an object in S3 instead."""
    folder: str = resource["Properties"][key]
    resource["Properties"][key] = f"s3://code/{folder}"
    return folder


def put_code(function: Template, folder: str) -> None:
    function["Properties"]["Code"] = {"ZipFile": "the lab runs the function from its folder"}
    function.setdefault("Metadata", {})["SourceFolder"] = folder


def nest(application: Template, folder: Path) -> None:
    """Turns a serverless application with a local template into a nested stack that carries it rendered."""
    location = application["Properties"].pop("Location")
    parameters = application["Properties"].get("Parameters", {})
    known = {name: as_text(value) for name, value in parameters.items() if not isinstance(value, dict)}
    child = folder / location
    application["Type"] = "AWS::CloudFormation::Stack"
    application["Properties"]["TemplateURL"] = location
    application["Metadata"] = {"Template": render_nested(child, known)}
    for resource in application["Metadata"]["Template"]["Resources"].values():
        if source := resource.get("Metadata", {}).get("SourceFolder"):
            resource["Metadata"]["SourceFolder"] = normpath(Path(location).parent / source)


def render_nested(path: Path, known: Mapping[str, str]) -> Template:
    """Like `render`, but parameters whose values only the running parent knows stay references."""
    return translate(expand(yaml_parse(path.read_text()), known), known, path.parent)


def as_text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)
