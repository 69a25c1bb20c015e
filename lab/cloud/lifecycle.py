"""Lifecycle hooks: an instance on its way out waits until it is answered for, or until its time is up."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.models import autoscaling_backends

from lab.cloud.events import EventBus, event
from lab.cloud.journal import Journal
from lab.cloud.names import ACCOUNT, REGION
from lab.cloud.timers import Timers

TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"
MOST_HEARTBEATS = 100
LONGEST_SECONDS = 172_800.0


@dataclass
class Wait:
    """One action that an instance waits for. `until` and `latest` are on the monotonic clock."""

    group: str
    hook: Any
    instance_id: str
    seconds: float
    token: str = field(default_factory=lambda: str(uuid.uuid4()))
    until: float = 0.0
    latest: float = 0.0


class LifecycleHooks:
    """The terminate hooks of all groups. `scale` multiplies their time-outs."""

    def __init__(
        self, bus: EventBus, journal: Journal, timers: Timers, lock: AbstractContextManager[Any], scale: float
    ) -> None:
        self._bus, self._journal, self._timers, self._lock, self._scale = bus, journal, timers, lock, scale
        self._waiting: list[Wait] = []
        self._proceed: dict[str, Callable[[], None]] = {}

    def begin(self, group: Any, instance_id: str, proceed: Callable[[], None]) -> bool:
        """Hold the instance for every terminate hook of its group and say so; False when there is none.

        `proceed` is called once, under the lock, when all of them are answered or over.
        """
        hooks = autoscaling_backends[ACCOUNT][REGION].describe_lifecycle_hooks(group.name)
        hooks = [hook for hook in hooks if hook.lifecycle_transition == TERMINATING]
        if hooks:
            self._proceed[instance_id] = proceed
        for hook in hooks:
            self._wait_for(group, hook, instance_id)
        return bool(hooks)

    def _wait_for(self, group: Any, hook: Any, instance_id: str) -> None:
        seconds, now = float(hook.heartbeat_timeout) * self._scale, time.monotonic()
        wait = Wait(group.name, hook, instance_id, seconds)
        wait.until = now + seconds
        wait.latest = now + min(MOST_HEARTBEATS * seconds, LONGEST_SECONDS)
        self._waiting.append(wait)
        self._note(wait, "begun")
        self._timers.after(seconds, lambda: self._expire(wait))
        detail = {
            "LifecycleActionToken": wait.token,
            "AutoScalingGroupName": group.name,
            "LifecycleHookName": hook.name,
            "EC2InstanceId": instance_id,
            "LifecycleTransition": TERMINATING,
            "Origin": "AutoScalingGroup",
            "Destination": "EC2",
        }
        self._bus.put(event("aws.autoscaling", "EC2 Instance-terminate Lifecycle Action", detail, [group.arn]))

    # The two API calls. Both raise ValidationError when nothing waits under that name.

    def heartbeat(self, group: str, hook: str, instance_id: str | None, token: str | None) -> None:
        """The time-out begins anew, up to a hundred times its length."""
        wait = self._find(group, hook, instance_id, token)
        wait.until = min(time.monotonic() + wait.seconds, wait.latest)
        self._note(wait, "heartbeat")

    def complete(self, group: str, hook: str, instance_id: str | None, token: str | None, result: str) -> None:
        """CONTINUE lets other hooks wait on, ABANDON does not; an instance that terminates, terminates with both."""
        if result not in ("CONTINUE", "ABANDON"):
            raise ValidationError(f"Lifecycle action result {result} is not valid: CONTINUE or ABANDON")
        self._end(self._find(group, hook, instance_id, token), result.lower(), result)

    def _find(self, group: str, hook: str, instance_id: str | None, token: str | None) -> Wait:
        for wait in self._waiting:
            named = wait.token == token if token else wait.instance_id == instance_id
            if (wait.group, wait.hook.name) == (group, hook) and named:
                return wait
        asked = f"token {token}" if token else f"instance ID {instance_id}"
        raise ValidationError(f"No active Lifecycle Action found with {asked}")

    # The end of a wait.

    def _expire(self, wait: Wait) -> None:
        with self._lock:
            left = wait.until - time.monotonic()
            if wait not in self._waiting:
                return
            if left > 0:
                self._timers.after(left, lambda: self._expire(wait))
            else:
                self._end(wait, "timed_out", wait.hook.default_result)

    def _end(self, wait: Wait, how: str, result: str) -> None:
        self._waiting.remove(wait)
        self._note(wait, how)
        if result == "ABANDON":
            self._waiting = [other for other in self._waiting if other.instance_id != wait.instance_id]
        if not any(other.instance_id == wait.instance_id for other in self._waiting):
            self._proceed.pop(wait.instance_id)()

    def _note(self, wait: Wait, what: str) -> None:
        self._journal.write("lifecycle", id=wait.instance_id, group=wait.group, hook=wait.hook.name, event=what)
