"""One job from its lease to its end."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from comfyui_worker import workflow
from comfyui_worker.backend import PROVIDERS, Backend
from comfyui_worker.cache import AssetCache
from comfyui_worker.comfyui import ComfyUi
from comfyui_worker.ending import Ending
from comfyui_worker.errors import (
    AwayError,
    ComfyUiAwayError,
    ComfyUiDeadError,
    JobFailedError,
    LeaseLostError,
    RefusedError,
    StorageAwayError,
)
from comfyui_worker.inputs import TRANSFER_SECONDS, Inputs
from comfyui_worker.jobs import Job, Lease
from comfyui_worker.keeper import Keeper
from comfyui_worker.log import Log
from comfyui_worker.rendering import Limits, Rendered, Rendering
from comfyui_worker.retry import persist
from comfyui_worker.settings import Settings
from comfyui_worker.state import State
from comfyui_worker.transfer import storage_session, upload

COMFYUI_DEAD, TROUBLE = "comfyui_dead", "worker_trouble"


class Work:
    """Does jobs with what one worker has. Every job ends completed, failed, given back, or as somebody else's."""

    def __init__(
        self, settings: Settings, backend: Backend, comfyui: ComfyUi, *, state: State, ending: Ending, log: Log
    ) -> None:
        self._settings, self._backend, self._comfyui = settings, backend, comfyui
        self._state, self._ending, self._log = state, ending, log
        self._storage = storage_session(settings.storage_prefix)
        self._cache = AssetCache(settings.cache_directory, settings.cache_max_bytes)

    def do(self, job: Job) -> None:
        """Raises ComfyUiDeadError or OSError when this machine cannot go on; the job has been given back by then."""
        with self._keeper(job.lease) as keeper:
            try:
                self._state.keep_lease(job.lease)
                self._finish(job, keeper)
            except LeaseLostError as lost:
                self._say("fenced", job, str(lost))
            except (JobFailedError, StorageAwayError) as failed:
                self._fail(keeper, job, str(failed))
            except (ComfyUiAwayError, ComfyUiDeadError) as dead:
                self._give_back(keeper, job, COMFYUI_DEAD)
                raise ComfyUiDeadError(str(dead)) from dead
            except OSError:  # a full disk, say
                self._give_back(keeper, job, TROUBLE)
                raise
            except AwayError as away:
                self._say("abandoned", job, f"the backend could not be told: {away}")
            except Exception as error:  # noqa: BLE001 - a payload that breaks us must not break the next worker, too
                where = "".join(traceback.format_tb(error.__traceback__))  # its text might quote a signed address
                self._say("bug", job, f"{type(error).__name__}\n{where}")
                self._fail(keeper, job, f"the worker could not handle the job ({type(error).__name__})")
            finally:
                self._state.forget_lease()

    def _keeper(self, lease: Lease) -> Keeper:
        return Keeper(
            self._backend.for_another_thread(), lease, self._ending, self._log,
            interval=self._settings.heartbeat_interval, margin=self._settings.requeue_margin,
        )  # fmt: skip

    def _finish(self, job: Job, keeper: Keeper) -> None:
        if job.provider not in PROVIDERS:
            raise JobFailedError(f"this worker does not serve provider {job.provider}")
        with self._cache.scratch() as folder:
            scratch, result = Path(folder), Path(folder) / "output"
            rendered = self._rendered(job, keeper, scratch)
            file = workflow.output(job.payload, rendered.outputs)
            most = self._settings.output_max_bytes
            persist(
                lambda: self._comfyui.view(file, result, max_bytes=most), self._settings.comfyui_patience, keeper.wait
            )
            self._deliver(job, keeper, result)
            about = _output(result, file, rendered)
        self._tell(keeper, lambda lease: self._backend.complete(lease, rendered.prompt, about))
        self._log.say("completed", dispatch_id=job.lease.dispatch_id, bytes=about["size"])

    def _rendered(self, job: Job, keeper: Keeper, scratch: Path) -> Rendered:
        own = self._settings
        inputs = Inputs(
            self._comfyui, self._storage, self._cache, scratch, keeper,
            patience=own.comfyui_patience, max_bytes=own.input_max_bytes, max_bytes_of_all=own.job_max_bytes,
        )  # fmt: skip
        graph = inputs.graph(job)
        extra = job.payload.get("extra_data")
        limits = Limits(own.comfyui_patience, own.job_timeout, own.progress_interval)
        return Rendering(self._comfyui, keeper, limits, self._log).run(graph, extra if isinstance(extra, dict) else {})

    def _deliver(self, job: Job, keeper: Keeper, result: Path) -> None:
        """Asks first whether the job is ours: a worker that was cut off must not overwrite another's result."""
        if not result.stat().st_size:
            raise JobFailedError("the workflow made an empty file")
        keeper.confirm(self._backend.heartbeat, self._settings.retry_limit)
        persist(
            lambda: upload(self._storage, job.output_url, job.output_headers, result, keeper.check),
            TRANSFER_SECONDS, keeper.wait,
        )  # fmt: skip

    def _fail(self, keeper: Keeper, job: Job, message: str) -> None:
        self._say("failed", job, message)
        self._settle(keeper, job, lambda lease: self._backend.fail(lease, message))

    def _give_back(self, keeper: Keeper, job: Job, reason: str) -> None:
        self._say("requeued", job, reason)
        self._settle(keeper, job, lambda lease: self._backend.requeue(lease, reason))

    def _settle(self, keeper: Keeper, job: Job, tell: Callable[[Lease], None]) -> None:
        """A lease that was lost meanwhile is another's concern; one that nobody could be told of runs out."""
        try:
            self._tell(keeper, tell)
        except LeaseLostError as lost:
            self._say("fenced", job, str(lost))
        except (AwayError, RefusedError) as error:
            self._say("abandoned", job, str(error))

    def _tell(self, keeper: Keeper, tell: Callable[[Lease], None]) -> None:
        """The lease is forgotten first: the next process must not give back what the backend may know as done."""
        self._state.forget_lease()
        keeper.settle(tell, self._settings.retry_limit)

    def _say(self, event: str, job: Job, why: str) -> None:
        self._log.say(event, dispatch_id=job.lease.dispatch_id, why=why)


def _output(result: Path, file: Mapping[str, str], rendered: Rendered) -> dict[str, Any]:
    metadata = {"filename": file["filename"], "prompt_id": rendered.prompt}
    mime_type = workflow.mime_type(file["filename"])
    return {"size": result.stat().st_size, "mime_type": mime_type, "metadata": metadata}
