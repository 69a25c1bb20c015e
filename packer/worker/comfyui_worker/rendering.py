"""One prompt from submission to its end, over restarts of ComfyUI."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from comfyui_worker.comfyui import ComfyUi, Progress
from comfyui_worker.errors import ComfyUiAwayError, ComfyUiDeadError, JobFailedError, LeaseLostError
from comfyui_worker.keeper import Keeper
from comfyui_worker.log import Log

STOP_SECONDS = 30.0
"""A healthy ComfyUI obeys an interruption between two steps of a sampler."""
SUBMISSIONS = 2
"""A workflow that takes ComfyUI down twice is not tried a third time."""


@dataclass(frozen=True)
class Limits:
    """Seconds: `patience` with a silent ComfyUI, `job` for the whole rendering, `look` between two looks."""

    patience: float
    job: float
    look: float


@dataclass(frozen=True)
class Rendered:
    prompt: str
    outputs: Mapping[str, Any]


class Rendering:
    """`keeper` tells whether the job is still ours."""

    def __init__(self, comfyui: ComfyUi, keeper: Keeper, limits: Limits, log: Log) -> None:
        self._comfyui, self._keeper, self._limits, self._log = comfyui, keeper, limits, log
        self._heard = time.monotonic()

    def run(self, graph: Mapping[str, Any], extra: Mapping[str, Any]) -> Rendered:
        """Raises JobFailedError, LeaseLostError or ComfyUiDeadError; the prompt runs no longer in any case."""
        end = time.monotonic() + self._limits.job
        for _ in range(SUBMISSIONS):
            prompt = self._submitted(graph, extra)
            self._log.say("rendering", prompt_id=prompt)
            try:
                progress = self._watched(prompt, end)
            except (LeaseLostError, JobFailedError):
                self._stop(prompt)
                raise
            if progress.known:
                return self._judged(prompt, progress)
            self._log.say("comfyui_restarted", prompt_id=prompt)
        raise JobFailedError(f"ComfyUI stopped working {SUBMISSIONS} times while it ran this workflow")

    def _submitted(self, graph: Mapping[str, Any], extra: Mapping[str, Any]) -> str:
        while True:
            self._keeper.check()
            try:
                return self._comfyui.submit(graph, extra)
            except ComfyUiAwayError as away:
                self._wait_for_comfyui(away)

    def _watched(self, prompt: str, end: float) -> Progress:
        """Its progress once it is done, or not known any more."""
        self._heard = time.monotonic()
        while True:
            self._keeper.wait(self._limits.look)
            if time.monotonic() > end:
                raise JobFailedError(f"the workflow did not end within {self._limits.job:.0f} seconds")
            try:
                progress = self._comfyui.progress(prompt)
            except ComfyUiAwayError as away:
                self._wait_for_comfyui(away)
            else:
                self._heard = time.monotonic()
                if progress.done or not progress.known:
                    return progress

    def _wait_for_comfyui(self, away: ComfyUiAwayError) -> None:
        silent = time.monotonic() - self._heard
        if silent > self._limits.patience:
            raise ComfyUiDeadError(f"silent for {silent:.0f} s: {away}") from away
        self._keeper.wait(self._limits.look)

    @staticmethod
    def _judged(prompt: str, progress: Progress) -> Rendered:
        if progress.error:
            raise JobFailedError(progress.error)
        return Rendered(prompt, progress.outputs)

    def _stop(self, prompt: str) -> None:
        """Raises ComfyUiDeadError when it goes on all the same: then nothing else can run here."""
        end = time.monotonic() + min(STOP_SECONDS, self._limits.patience)
        while True:
            try:
                self._comfyui.interrupt(prompt)
                if not self._comfyui.running(prompt):
                    return
            except ComfyUiAwayError as away:
                self._log.say("comfyui_silent", error=str(away))
            if time.monotonic() > end:
                raise ComfyUiDeadError("an interrupted prompt went on")
            time.sleep(min(0.5, self._limits.look))
