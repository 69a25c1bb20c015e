"""What is between a job's payload and ComfyUI's words: pure, no network, no disk."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from comfyui_worker.errors import JobFailedError

INPUT_PLACEHOLDER = "__INPUT_PATH__"
VIDEO = "video/"
TEXT_LENGTH = 400


def graph(payload: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The workflow in ComfyUI's API format with every placeholder of `names` replaced, inside longer texts too."""
    given = payload.get("workflow") or payload.get("comfyui_workflow")
    if not isinstance(given, dict):
        raise JobFailedError("the job names no ComfyUI workflow")
    if "" in names:
        raise JobFailedError("a file of the job has an empty placeholder")
    if not names:
        return given
    anyone = re.compile("|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)))
    filled: dict[str, Any] = _filled(given, lambda text: anyone.sub(lambda found: names[found[0]], text))
    return filled


def with_input(filled: dict[str, Any], payload: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Payloads may name a node and its field for the input, besides or instead of a placeholder."""
    node, field = payload.get("input_node_id"), payload.get("input_field")
    if node is None or not field:
        return filled
    if not isinstance(filled.get(str(node)), dict):
        raise JobFailedError(f"the workflow has no node {node} for the input")
    inputs = filled[str(node)].get("inputs", {})
    return {**filled, str(node): {**filled[str(node)], "inputs": {**inputs, str(field): name}}}


def _filled(value: Any, fill: Callable[[str], str]) -> Any:
    """In one pass: a name that holds another placeholder stays as it is, and no payload grows without bound."""
    if isinstance(value, dict):
        return {key: _filled(inner, fill) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, fill) for inner in value]
    return fill(value) if isinstance(value, str) else value


def output(payload: Mapping[str, Any], outputs: Mapping[str, Any]) -> Mapping[str, str]:
    """The one file that is the job's result: of the named node if there is one; videos first, previews never."""
    wanted = payload.get("output_node_id")
    nodes = outputs.items() if wanted is None else [(str(wanted), outputs.get(str(wanted)) or {})]
    files = [file for _, node in nodes for file in _files(node) if file.get("type") != "temp"]
    if not files:
        raise JobFailedError("the workflow ended without an output")
    videos = [file for file in files if mime_type(file["filename"]).startswith(VIDEO)]
    return (videos or files)[-1]


def _files(node: Any) -> Iterator[Mapping[str, str]]:
    """Nodes file their results under `images`, `gifs`, `videos` and other names; a file is what has a filename."""
    groups = node.values() if isinstance(node, dict) else ()
    for group in groups:
        if isinstance(group, list):
            yield from (file for file in group if isinstance(file, dict) and file.get("filename"))


def mime_type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def rejection(answer: Mapping[str, Any]) -> str:
    """What `POST /prompt` found wrong, in one line."""
    error = answer.get("error")
    text = str(error.get("message", "")) if isinstance(error, dict) else str(error or "no reason given")
    nodes = answer.get("node_errors")
    details = [_node_error(number, node) for number, node in nodes.items()] if isinstance(nodes, dict) else []
    return _short("; ".join([f"ComfyUI refuses the workflow: {text}", *details]))


def _node_error(number: str, node: Mapping[str, Any]) -> str:
    errors = [error for error in node.get("errors", []) if isinstance(error, dict)]
    texts = [" ".join(str(error.get(key, "")) for key in ("message", "details")).strip() for error in errors]
    return f"node {number} ({node.get('class_type', '?')}): {', '.join(texts)}"


def failure(entry: Mapping[str, Any]) -> str:
    """Why a prompt of the history failed, in one line; empty when it did not."""
    status = entry.get("status") or {}
    if status.get("status_str", "success") == "success":
        return ""
    for kind, said in reversed([pair for pair in status.get("messages", []) if len(pair) == 2]):
        if kind == "execution_error":
            first = str(said.get("exception_message", "")).strip().partition("\n")[0]
            return _short(f"node {said.get('node_id')} ({said.get('node_type')}) failed: {first}")
        if kind == "execution_interrupted":
            return "ComfyUI was interrupted"
    return "ComfyUI reports an error without a reason"


def _short(text: str) -> str:
    return text if len(text) <= TEXT_LENGTH else text[: TEXT_LENGTH - 1] + "…"
