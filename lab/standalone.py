"""A nested stack's function as a template of its own: `sam local` does not find layers that a parent lends.

python -m lab.standalone AmiRolloutFunction     after `make build`; prints the template's path
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from samcli.yamlhelper import yaml_dump

from lab.artifacts import ROOT, Build
from lab.render import SERVERLESS, Template

BUILT = ROOT / ".aws-sam/build"
KEPT = ("CodeUri", "Runtime", "Handler", "Architectures", "MemorySize", "Timeout", "Environment")
"""What a function is on one machine; network, destinations and rights are AWS's."""
NEEDED = ("Stage", "Architecture")


def standalone(built: Build, function: str) -> Template:
    """The function beside the application's layers. Raises KeyError when no nested stack has it."""
    layers = {
        name: resource
        for name, resource in built.template["Resources"].items()
        if not name.startswith("Fn::") and resource["Type"] == "AWS::Serverless::LayerVersion"
    }
    its = built.nested("Function")[function]
    properties = {key: its[key] for key in KEPT} | {"Layers": [{"Ref": name} for name in layers]}
    return {
        "Transform": SERVERLESS,
        "Parameters": {name: built.template["Parameters"][name] for name in NEEDED},
        "Resources": layers | {function: {"Type": "AWS::Serverless::Function", "Properties": properties}},
    }


def write(built: Build, function: str) -> Path:
    """Beside the build's own template, from where its folders are named."""
    path = built.folder / f"{function}.yaml"
    path.write_text(yaml_dump(standalone(built, function)), encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="lab.standalone", description=__doc__, formatter_class=form)
    parser.add_argument("function")
    print(write(Build(BUILT), parser.parse_args(arguments).function))
    return 0


if __name__ == "__main__":
    sys.exit(main())
