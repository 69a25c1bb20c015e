"""The ComfyUI of one instance: it renders by the clock, one prompt at a time, and can hang, die and be stubborn."""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from email.parser import BytesParser
from typing import Any

from lab.site.answers import Answer, NoAnswerError, Question, as_json

UP, HUNG, DEAD = "up", "hung", "dead"
PREFIX = "/comfyui/"
OUTPUT_SIZE = 100_000


@dataclass
class Prompt:
    """`end` is infinite for one that never ends; `stopped` is when it was interrupted."""

    graph: Mapping[str, Any]
    start: float
    end: float
    error: str = ""
    stopped: float | None = None

    def over(self, now: float) -> bool:
        return self.stopped is not None or now >= self.end


class FakeComfyUi:
    """`state` is up, hung (takes connections, answers none) or dead. `boot` seconds pass before it is up."""

    def __init__(self, boot: float = 0.0) -> None:
        self._lock = threading.Lock()
        self._back = threading.Event()
        self._prompts: dict[str, Prompt] = {}
        self._up_at = time.monotonic() + boot
        self._state = UP
        self.stubborn = False
        self.deadly = 0
        """So many prompts take the process down: it is restarted at once and knows nothing any more."""
        self.inputs: dict[str, tuple[int, str]] = {}
        self.submitted: list[Mapping[str, Any]] = []
        self.interrupts = 0

    def set_state(self, state: str) -> None:
        self._state = state
        self._back.set()
        self._back = threading.Event()

    def restart(self) -> None:
        """Queue and history are gone, as after a crash; files stay."""
        with self._lock:
            self._prompts.clear()

    def rendering(self) -> int:
        now = time.monotonic()
        with self._lock:
            return sum(not prompt.over(now) for prompt in self._prompts.values())

    def answer(self, question: Question) -> Answer:
        while self._state == HUNG:
            self._back.wait(60)
        if self._state == DEAD or time.monotonic() < self._up_at:
            raise NoAnswerError
        path = question.path.removeprefix(PREFIX)
        calls = {
            ("GET", "system_stats"): lambda: as_json(STATS),
            ("POST", "upload/image"): lambda: self._upload(question),
            ("POST", "prompt"): lambda: self._prompt(question.json()),
            ("GET", "queue"): lambda: as_json(self._queue()),
            ("POST", "queue"): lambda: self._delete(question.json()),
            ("POST", "interrupt"): lambda: self._interrupt(question.json()),
            ("GET", "view"): lambda: self._view(question.query),
        }
        if path.startswith("history/"):
            return as_json(self._history(path.removeprefix("history/")))
        call = calls.get((question.method, path))
        return call() if call else Answer(404)

    def _upload(self, question: Question) -> Answer:
        head = f"Content-Type: {question.headers['Content-Type']}\r\n\r\n".encode()
        form = BytesParser().parsebytes(head + question.body())
        for part in form.walk():
            name = part.get_filename()
            if name:
                content = part.get_payload(decode=True)
                assert isinstance(content, bytes)
                self.inputs[name] = (len(content), hashlib.sha256(content).hexdigest())
                return as_json({"name": name, "subfolder": "", "type": "input"})
        return Answer(400)

    def _prompt(self, body: Mapping[str, Any]) -> Answer:
        graph: dict[str, Any] = body.get("prompt") or {}
        unknown = {number: node for number, node in graph.items() if self._lacks_file(node)}
        if unknown or not graph:
            return as_json(_refusal(unknown), 400)
        now, prompt = time.monotonic(), str(uuid.uuid4())
        options: dict[str, Any] = next(
            (node["inputs"] for node in graph.values() if node["class_type"] == "LabRender"), {}
        )
        with self._lock:
            self.submitted.append(body)
            start = max([now, *(one.end for one in self._prompts.values() if not one.over(now))])
            self._prompts[prompt] = Prompt(
                graph, start, start + float(options.get("seconds", 0)), options.get("error", "")
            )
            if self.deadly:
                self.deadly -= 1
                self._prompts.clear()
        return as_json({"prompt_id": prompt, "number": len(self.submitted), "node_errors": {}})

    def _lacks_file(self, node: Mapping[str, Any]) -> bool:
        return node["class_type"] == "LoadImage" and node["inputs"].get("image") not in self.inputs

    def _queue(self) -> dict[str, Any]:
        now = time.monotonic()
        with self._lock:
            there = [(number, prompt) for number, prompt in self._prompts.items() if not prompt.over(now)]
        rows = [[place, number, dict(prompt.graph), {}, ["9"]] for place, (number, prompt) in enumerate(there)]
        return {"queue_running": rows[:1], "queue_pending": rows[1:]}

    def _delete(self, body: Mapping[str, Any]) -> Answer:
        now = time.monotonic()
        with self._lock:
            doomed = list(self._prompts) if body.get("clear") else body.get("delete", [])
            for number in doomed:
                if number in self._prompts and self._prompts[number].start > now:
                    del self._prompts[number]
        return Answer(200)

    def _interrupt(self, body: Mapping[str, Any]) -> Answer:
        now, wanted = time.monotonic(), body.get("prompt_id")
        with self._lock:
            self.interrupts += 1
            for number, prompt in self._prompts.items():
                running = prompt.start <= now and not prompt.over(now)
                if running and wanted in (None, number) and not self.stubborn:
                    prompt.stopped = now
        return Answer(200)

    def _history(self, number: str) -> dict[str, Any]:
        with self._lock:
            prompt = self._prompts.get(number)
        return {number: _entry(number, prompt)} if prompt and prompt.over(time.monotonic()) else {}

    def _view(self, query: Mapping[str, str]) -> Answer:
        number = query.get("filename", "").removesuffix(".mp4")
        with self._lock:
            known = number in self._prompts
        return Answer(200, video(number), {"Content-Type": "video/mp4"}) if known else Answer(404)


def video(prompt: str) -> bytes:
    """What the fake renders for a prompt."""
    return hashlib.sha256(prompt.encode()).digest() * (OUTPUT_SIZE // 32)


def _entry(number: str, prompt: Prompt) -> dict[str, Any]:
    file = {"filename": f"{number}.mp4", "subfolder": "", "type": "output"}
    if prompt.stopped is not None:
        return _ended("error", [["execution_interrupted", {"prompt_id": number, "node_id": "2"}]], {})
    if prompt.error:
        said = {"node_id": "2", "node_type": "LabRender", "exception_message": prompt.error, "traceback": ["..."]}
        return _ended("error", [["execution_start", {}], ["execution_error", said]], {})
    return _ended("success", [["execution_success", {}]], {"9": {"gifs": [file], "animated": [True]}})


def _ended(status: str, messages: list[Any], outputs: dict[str, Any]) -> dict[str, Any]:
    return {
        "status": {"status_str": status, "completed": status == "success", "messages": messages},
        "outputs": outputs,
    }


def _refusal(nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    found = {
        number: {"class_type": node["class_type"], "dependent_outputs": ["9"], "errors": [
            {"type": "custom_validation_failed", "message": "Custom validation failed for node",
             "details": f"image - Invalid image file: {node['inputs'].get('image')}"}]}
        for number, node in nodes.items()
    }  # fmt: skip
    kind = "prompt_outputs_failed_validation" if nodes else "prompt_no_outputs"
    message = "Prompt outputs failed validation" if nodes else "Prompt has no outputs"
    return {"error": {"type": kind, "message": message, "details": "", "extra_info": {}}, "node_errors": found}


STATS = {
    "system": {"os": "posix", "comfyui_version": "0.3.0-lab", "python_version": "3.12"},
    "devices": [{"name": "cuda:0 Tesla T4", "type": "cuda", "index": 0, "vram_total": 15_655_829_504}],
}
