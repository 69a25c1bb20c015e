"""The worker's life: ready, registered, polling, and away in good order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from comfyui_worker import __version__
from comfyui_worker.backend import Backend
from comfyui_worker.comfyui import ComfyUi
from comfyui_worker.ending import Ending
from comfyui_worker.errors import AwayError, ComfyUiAwayError, ComfyUiDeadError, GiveUpError, RefusedError
from comfyui_worker.jobs import Job, Lease
from comfyui_worker.log import Log
from comfyui_worker.retry import pauses, persist
from comfyui_worker.settings import Settings
from comfyui_worker.state import State
from comfyui_worker.work import Work

UNKNOWN, LIMIT_REACHED, REGISTERED_ALREADY, THROTTLED = 401, 403, 409, 429
RESTARTED = "worker_restarted"
LEAVE_SECONDS = 5.0
ANSWER_SECONDS = 30.0
AWAY, AT_THE_DOOR = 3, 20
"""The longest pause, in poll intervals, with a backend that is away, and at registration: all come from one address."""
ALREADY = (
    "the backend knows this worker id already and its token is not on this disk: without a token nobody can "
    "deregister it, so this instance has to be replaced"
)


class Worker:
    """One process. `run` returns after an announced end; it raises what makes the process end otherwise."""

    def __init__(self, settings: Settings, ending: Ending, log: Log) -> None:
        self._settings, self._ending, self._log = settings, ending, log
        self._backend = Backend(settings.api_base_url, settings.worker_id)
        self._comfyui = ComfyUi(
            settings.comfyui_base_url, settings.worker_id, min(ANSWER_SECONDS, settings.comfyui_patience)
        )
        self._state = State(settings.state_directory, settings.worker_id)
        self._work = Work(settings, self._backend, self._comfyui, state=self._state, ending=ending, log=log)
        self._capabilities: dict[str, Any] = {}
        self._pauses = self._new_pauses(AWAY)

    def run(self) -> None:
        """Raises GiveUpError when a restart would not help, ComfyUiDeadError when it might."""
        self._wait_for_comfyui()
        self._identify()
        self._give_back_what_was_left()
        while not self._ending.begun:
            self._turn()
        self._leave()

    def _turn(self) -> None:
        """One poll, and the job that came of it. No job is asked for that could not be run."""
        self._wait_for_comfyui()
        job = None if self._ending.begun else self._poll()
        if job is None:
            return
        self._log.say("leased", dispatch_id=job.lease.dispatch_id)
        if self._ending.begun:  # while the poll was under way
            self._give_back(job.lease, self._ending.reason)
        else:
            self._work.do(job)

    def _poll(self) -> Job | None:
        try:
            job = self._backend.poll(self._settings.max_concurrency, self._capabilities)
        except RefusedError as refused:
            self._refused(refused)
            return None
        except AwayError as away:
            self._log.say("backend_away", error=str(away))
            self._ending.wait(next(self._pauses))
            return None
        self._pauses = self._new_pauses(AWAY)
        if job is None:
            self._ending.wait(self._settings.poll_interval)
        return job

    def _refused(self, refused: RefusedError) -> None:
        """A token that the backend forgot is worth nothing: the row is gone, and may be made again."""
        self._log.say("poll_refused", error=str(refused))
        if refused.status == UNKNOWN:
            self._state.forget_token()
            self._identify()
        else:
            self._ending.wait(next(self._pauses))

    # -- registration ----------------------------------------------------------------------------------------------

    def _identify(self) -> None:
        """With the token from disk, or a new one. Many register at once behind one address: 429 is no failure."""
        self._backend.token = self._state.token()
        if self._backend.token:
            self._log.say("resumed")
            return
        waits = self._new_pauses(AT_THE_DOOR)
        while not self._ending.begun and not self._registered():
            self._ending.wait(next(waits))

    def _registered(self) -> bool:
        own = self._settings
        name = f"{own.asg_name or 'worker'}/{own.worker_id}"
        try:
            token = self._backend.register(
                own.fleet_secret, name, own.workflow_slugs, self._capabilities, own.max_concurrency
            )
        except RefusedError as refused:
            self._judge_refusal(refused)
            return False
        except AwayError as away:
            self._log.say("backend_away", error=str(away))
            return False
        try:
            self._state.keep_token(token)
        except OSError:  # without it on disk the next process would find the door shut (409)
            self._leave()
            raise
        self._log.say("registered", workflows=list(own.workflow_slugs))
        return True

    def _judge_refusal(self, refused: RefusedError) -> None:
        if refused.status not in (THROTTLED, LIMIT_REACHED):
            raise GiveUpError(ALREADY if refused.status == REGISTERED_ALREADY else str(refused))
        self._log.say("throttled", error=str(refused), retry_after=refused.retry_after)
        self._ending.wait(min(refused.retry_after or 0.0, AT_THE_DOOR * self._settings.poll_interval))

    def _give_back_what_was_left(self) -> None:
        """A process before this one ended in the middle of a job, whose lease might lie hours ahead, and its prompt
        would keep ComfyUI busy."""
        lease = self._state.lease()
        if lease is None or not self._backend.token:
            return
        self._give_back(lease, RESTARTED)
        self._state.forget_lease()
        try:
            persist(self._comfyui.clear, self._settings.comfyui_patience, self._ending.wait)
        except ComfyUiAwayError as away:
            raise ComfyUiDeadError(str(away)) from away

    def _give_back(self, lease: Lease, reason: str) -> None:
        seconds = min(self._settings.retry_limit, self._ending.left())
        try:
            persist(lambda: self._backend.requeue(lease, reason), seconds)
            self._log.say("requeued", dispatch_id=lease.dispatch_id, why=reason)
        except (RefusedError, AwayError) as error:
            self._log.say("abandoned", dispatch_id=lease.dispatch_id, why=str(error))

    def _leave(self) -> None:
        if not self._backend.token:
            return
        try:
            persist(self._backend.deregister, LEAVE_SECONDS)
            self._state.forget_token()
            self._log.say("deregistered", reason=self._ending.reason)
        except (RefusedError, AwayError) as error:
            self._log.say("not_deregistered", error=str(error))

    # -- ComfyUI ---------------------------------------------------------------------------------------------------

    def _wait_for_comfyui(self) -> None:
        """Returns once it answers, or an end is announced. Raises ComfyUiDeadError when patience is over."""
        end = time.monotonic() + self._settings.comfyui_patience
        while not self._ending.begun:
            try:
                self._describe(self._comfyui.system_stats())
                return
            except ComfyUiAwayError as away:
                if time.monotonic() > end:
                    raise ComfyUiDeadError(str(away)) from away
                self._ending.wait(min(2.0, self._settings.poll_interval))

    def _describe(self, stats: dict[str, Any]) -> None:
        system, devices = stats.get("system") or {}, stats.get("devices") or [{}]
        self._capabilities = {
            "worker_version": __version__,
            "comfyui_version": system.get("comfyui_version"),
            "gpu": devices[0].get("name"),
            "vram_total": devices[0].get("vram_total"),
        }

    def _new_pauses(self, times: float) -> Iterator[float]:
        return pauses(self._settings.poll_interval, times * self._settings.poll_interval)
