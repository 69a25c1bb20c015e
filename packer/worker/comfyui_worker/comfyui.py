"""ComfyUI's HTTP API, as far as a worker needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from comfyui_worker import workflow
from comfyui_worker.backend import new_session
from comfyui_worker.errors import ComfyUiAwayError, JobFailedError
from comfyui_worker.multipart import FileForm

CHUNK = 1 << 20
JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Progress:
    """Of one prompt. `known` is False when ComfyUI has never heard of it, as after a restart."""

    known: bool
    done: bool = False
    outputs: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


class ComfyUi:
    """One thread's client. Raises ComfyUiAwayError when it does not answer, JobFailedError when it refuses the job.

    `timeout` is how long one answer may take, in seconds: it loads models in the thread that answers.
    """

    def __init__(self, base_url: str, client_id: str, timeout: float) -> None:
        self._base_url, self._client_id = base_url, client_id
        self._timeout = (min(2.0, timeout), timeout)
        self._session = new_session()

    def system_stats(self) -> JsonObject:
        """What it runs on; that it answers at all is its health."""
        return self._json(self._ask("GET", "/system_stats"))

    def upload(self, path: Path, name: str) -> str:
        """The name by which a workflow refers to the file; the same name replaces what was there."""
        form = FileForm(path, name, {"type": "input", "overwrite": "true"})
        answer = self._ask("POST", "/upload/image", data=form, headers={"Content-Type": form.content_type})
        if answer.status_code == 413:
            raise JobFailedError("the input is larger than ComfyUI accepts")
        said = self._json(answer)
        folder = said.get("subfolder") or ""
        return f"{folder}/{said['name']}" if folder else str(said["name"])

    def submit(self, graph: Mapping[str, Any], extra: Mapping[str, Any]) -> str:
        """The prompt's id. Raises JobFailedError with what its validation found."""
        body: JsonObject = {"prompt": graph, "client_id": self._client_id}
        if extra:
            body["extra_data"] = dict(extra)
        answer = self._ask("POST", "/prompt", json=body)
        if answer.status_code == 400:
            raise JobFailedError(workflow.rejection(self._parsed(answer)))
        return str(self._json(answer)["prompt_id"])

    def progress(self, prompt: str) -> Progress:
        entry = self._history(prompt)
        if entry is None and not self._queued(prompt):
            entry = self._history(prompt)  # it may have ended between the two questions
            if entry is None:
                return Progress(known=False)
        if entry is None:
            return Progress(known=True)
        return Progress(known=True, done=True, outputs=entry.get("outputs") or {}, error=workflow.failure(entry))

    def view(self, file: Mapping[str, str], path: Path, *, max_bytes: int) -> None:
        """Write an output to `path`, as a stream. Raises JobFailedError when there is more than `max_bytes` of it."""
        query = {"filename": file["filename"], "subfolder": file.get("subfolder", ""), "type": file.get("type", "")}
        try:
            url = f"{self._base_url}/view"
            with (
                self._session.get(url, params=query, stream=True, timeout=self._timeout) as answer,
                path.open("wb") as out,
            ):
                if answer.status_code >= 500:
                    raise ComfyUiAwayError(f"view: HTTP {answer.status_code}")
                if not answer.ok:
                    raise JobFailedError("ComfyUI does not find the output that it named")
                for piece in answer.iter_content(CHUNK):
                    if out.tell() + len(piece) > max_bytes:
                        raise JobFailedError(f"the output is larger than {max_bytes} bytes")
                    out.write(piece)
        except requests.RequestException as error:
            raise ComfyUiAwayError(f"ComfyUI: {type(error).__name__}") from error

    def interrupt(self, prompt: str) -> None:
        """Take it from the queue, or stop it if it runs."""
        self._ask("POST", "/queue", json={"delete": [prompt]})
        self._ask("POST", "/interrupt", json={"prompt_id": prompt})

    def clear(self) -> None:
        """Stop all it has: on this machine it works for us alone, so it can only be what a dead process left."""
        self._ask("POST", "/queue", json={"clear": True})
        self._ask("POST", "/interrupt", json={})

    def running(self, prompt: str) -> bool:
        return self._queued(prompt)

    def _history(self, prompt: str) -> JsonObject | None:
        return self._json(self._ask("GET", f"/history/{prompt}")).get(prompt)

    def _queued(self, prompt: str) -> bool:
        queue = self._json(self._ask("GET", "/queue"))
        waiting = [*queue.get("queue_running", []), *queue.get("queue_pending", [])]
        return any(len(item) > 1 and item[1] == prompt for item in waiting)

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        try:
            return self._session.request(method, self._base_url + path, timeout=self._timeout, **options)
        except requests.RequestException as error:
            raise ComfyUiAwayError(f"ComfyUI: {type(error).__name__}") from error

    def _json(self, answer: requests.Response) -> JsonObject:
        if not answer.ok:
            raise ComfyUiAwayError(f"ComfyUI: HTTP {answer.status_code}")
        return self._parsed(answer)

    @staticmethod
    def _parsed(answer: requests.Response) -> JsonObject:
        try:
            content = answer.json()
        except ValueError as error:
            raise ComfyUiAwayError("ComfyUI: an answer that is not JSON") from error
        return content if isinstance(content, dict) else {}
