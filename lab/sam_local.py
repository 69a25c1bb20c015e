"""What `sam local invoke` would run, asked of the SAM CLI itself: code, layers, handler, resolved environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from samcli.commands.local.lib.local_lambda import LocalLambdaRunner
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider

from lab.artifacts import Build
from lab.cloud.names import REGION

EnvVars = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Invocable:
    """A function as its container would get it; `layers` in the order they are unpacked."""

    logical_id: str
    name: str
    code: Path
    layers: tuple[Path, ...]
    handler: str
    environment: Mapping[str, str]

    def told(self, **variables: str) -> Invocable:
        """With these variables above its own."""
        return replace(self, environment={**self.environment, **variables})


def read_env_vars(path: Path) -> dict[str, dict[str, str]]:
    """A file for `--env-vars`: values by function, and for all of them under `Parameters`."""
    values: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return values


def invocables(
    build: Build, env_vars: EnvVars, parameters: Mapping[str, str] | None = None, file: str = "template.yaml"
) -> dict[str, Invocable]:
    """By logical id, those of nested stacks among them: with the layers that the parent lends, which `sam local` itself
    does not find. The environment of this process has no say: the SAM CLI would let it override the template."""
    template = build.folder / file
    with patch.dict("os.environ", {"AWS_DEFAULT_REGION": REGION}, clear=True):
        stacks, _ = SamLocalStackProvider.get_stacks(
            str(template), parameter_overrides=dict(parameters or {}), language_extensions_enabled=True
        )
        own = _runners(build, env_vars, SamFunctionProvider([stack for stack in stacks if stack.is_root_stack]))
        lent = _runners(build, env_vars, SamFunctionProvider(stacks, locate_layer_nested=True))
        found = {function.name: (runner, function) for runner, function in [*lent, *own]}
        return {name: _invocable(runner, function) for name, (runner, function) in found.items()}


def _runners(build: Build, env_vars: EnvVars, provider: SamFunctionProvider) -> list[tuple[LocalLambdaRunner, Any]]:
    runner = LocalLambdaRunner(
        local_runtime=None,
        function_provider=provider,
        cwd=str(build.folder),
        real_path=str(build.folder),
        aws_region=REGION,
        env_vars_values={key: dict(values) for key, values in env_vars.items()},
    )
    return [(runner, function) for function in provider.get_all()]


def _invocable(runner: LocalLambdaRunner, function: Any) -> Invocable:
    config = runner.get_invoke_config(function)
    return Invocable(
        logical_id=config.name,
        name=function.functionname,
        code=Path(config.code_abs_path),
        layers=tuple(Path(layer.codeuri) for layer in config.layers),
        handler=config.handler,
        # what another stack knows is not resolved, and goes into the container as it is written
        environment={key: str(value) for key, value in config.env_vars.resolve().items()},
    )
