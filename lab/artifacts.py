"""What `sam build` makes, and what it runs in: built functions, layers unpacked as /opt, a Python like Lambda's."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse

ROOT = Path(__file__).parent.parent
ARCHITECTURES = ("arm64", "x86_64")
HERE = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
"""The architecture that this machine can run."""

RUNTIME = ("awslambdaric", "boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "simplejson", "six")
RUNTIME_PACKAGES = (*RUNTIME, "snapshot-restore-py", "urllib3")
"""What Lambda's Python brings: the runtime client and the SDK, with what they stand on."""


KEPT_HERE = {
    "SAM_CLI_TELEMETRY": "0",
    "__SAM_CLI_APP_DIR": str(ROOT / "build/sam"),
    "PIP_CACHE_DIR": str(ROOT / "build/cache/pip"),
}
"""Environment of the SAM CLI and pip: what they keep, they keep in the repository, not in the home directory."""


class NoPython313Error(RuntimeError):
    """There is no Python of Lambda's version on this machine; the text says where it was looked for."""


def python313() -> Path:
    """The folder of a Python 3.13 with pip. Raises NoPython313Error."""
    found = subprocess.run([ROOT / "scripts/python313.sh"], capture_output=True, text=True, check=False)
    if found.returncode:
        raise NoPython313Error(found.stderr.strip())
    return Path(found.stdout.strip())


@dataclass(frozen=True)
class Build:
    """The output folder of `sam build`, with its template."""

    folder: Path

    @cached_property
    def template(self) -> dict[str, Any]:
        parsed: dict[str, Any] = yaml_parse((self.folder / "template.yaml").read_text(encoding="utf-8"))
        return parsed

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Properties by logical id, of `Function` or `LayerVersion`, with the globals of functions beneath."""
        common = self.template.get("Globals", {}).get(kind, {})
        return {key: common | properties for key, properties in _of_type(self.template, kind)}

    def nested(self, kind: str) -> dict[str, dict[str, Any]]:
        """Likewise, of the stacks below; a function's `CodeUri` is relative to the build's own folder."""
        found: dict[str, dict[str, Any]] = {}
        for _, application in _of_type(self.template, "Application"):
            file = (self.folder / application["Location"]).resolve()
            if file.is_relative_to(self.folder):
                for key, properties in _of_type(yaml_parse(file.read_text(encoding="utf-8")), kind):
                    code = (file.parent / properties["CodeUri"]).relative_to(self.folder)
                    found[key] = properties | {"CodeUri": str(code)}
        return found

    def opt(self, layers: Sequence[Path], into: Path) -> Path:
        """The layers unpacked over each other in their order, as Lambda does it in /opt; `into` is emptied first."""
        into = into.resolve()
        shutil.rmtree(into, ignore_errors=True)
        for layer in layers:
            shutil.copytree(layer, into, dirs_exist_ok=True)
        return into


def _of_type(template: dict[str, Any], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, resource in template["Resources"].items():
        if not key.startswith("Fn::") and resource["Type"] == f"AWS::Serverless::{kind}":
            yield key, resource["Properties"]


def build(architecture: str, folder: Path) -> Build:
    """Run `sam build` for arm64 or x86_64. Raises NoPython313Error, and RuntimeError with sam's output."""
    tools = os.pathsep.join([str(Path(sys.executable).parent), str(python313()), os.environ["PATH"]])
    environment = os.environ | KEPT_HERE | {"PATH": tools, "AWS_DEFAULT_REGION": "us-east-1"}
    command = ["sam", "build", "--language-extensions", "--parameter-overrides", f"Architecture={architecture}"]
    command += ["--build-dir", str(folder.resolve())]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"sam build for {architecture} failed:\n{done.stdout}{done.stderr}")
    return Build(folder.resolve())


def lambda_python(folder: Path) -> Path:
    """An interpreter with Lambda's own packages and nothing else, made once in `folder`. Raises NoPython313Error."""
    folder = folder.resolve()
    stamp, wanted = folder / "packages", "\n".join(_pins())
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        python = python313() / "python3.13"
        _quietly(python, "-m", "venv", "--without-pip", folder)
        target = folder / "lib/python3.13/site-packages"
        _quietly(python, "-m", "pip", "install", "--no-deps", "--only-binary=:all:", "--target", target, *_pins())
        stamp.write_text(wanted, encoding="utf-8")
    return folder / "bin/python"


def _pins() -> list[str]:
    """The versions that the laboratory itself runs with."""
    lines = (ROOT / "requirements/dev.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split(";")[0].strip().split("==") for line in lines if "==" in line)
    return [f"{name}=={pins[name]}" for name in RUNTIME_PACKAGES]


def _quietly(*command: str | Path) -> None:
    done = subprocess.run(command, env=os.environ | KEPT_HERE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command[:4]))} failed:\n{done.stdout}{done.stderr}")
