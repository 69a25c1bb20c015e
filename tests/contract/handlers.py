"""Handlers as Lambda loads them: from their folder, with an environment and a context."""

import importlib.util
from pathlib import Path
from types import ModuleType

FUNCTIONS = Path(__file__).parents[2] / "functions"


def load(function: str) -> ModuleType:
    """A fresh `functions/<function>/app.py`, as in a new execution environment."""
    path = FUNCTIONS / function / "app.py"
    spec = importlib.util.spec_from_file_location(f"{function}_app", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Context:
    """What Lambda tells a handler of its invocation."""

    function_name = "bp-staging-function"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:bp-staging-function"
    aws_request_id = "request-1"
    log_stream_name = "2026/01/05/[$LATEST]stream"

    def get_remaining_time_in_millis(self) -> int:
        return 30_000
