"""Every type of the templates is created by moto, made by the lab, or left out for a reason; the lists are exact."""

import os
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from moto.cloudformation.parsing import get_model_list

from lab.cloud import standins, supply
from lab.cloud.names import REGION
from lab.render import Template, render

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
MADE_BY_THE_LAB = supply.STOOD_IN | supply.SUPPLIED.keys() | {supply.ATTACHMENT}


def kinds(template: Template) -> Iterator[str]:
    for resource in template["Resources"].values():
        yield resource["Type"]
        if resource["Type"] == "AWS::CloudFormation::Stack":
            yield from kinds(resource["Metadata"]["Template"])


@pytest.fixture(scope="module")
def deployed() -> set[str]:
    with patch.dict(os.environ, {"AWS_DEFAULT_REGION": REGION}):
        return {kind for kind in kinds(render(TEMPLATE, {})) if not supply.is_custom(kind)}


def test_what_moto_cannot_create_is_on_the_lists_and_nothing_else_is(deployed: set[str]) -> None:
    motos = {model.cloudformation_type() for model in get_model_list() if model not in standins.MODELS}
    listed = (MADE_BY_THE_LAB | supply.SKIPPED.keys()) - {standins.LAYER}
    assert deployed - motos <= listed
    assert listed <= deployed


def test_nothing_is_on_two_lists() -> None:
    lists = [supply.STOOD_IN, supply.SUPPLIED.keys(), supply.SKIPPED.keys(), {supply.ATTACHMENT}]
    assert sum(map(len, lists)) == len(set().union(*lists))


def test_what_is_left_out_has_a_reason() -> None:
    assert all(len(reason) > 15 for reason in supply.SKIPPED.values())
