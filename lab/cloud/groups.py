"""Auto Scaling as it really behaves: capacity is only recorded, instances come and go later, and say so in events."""

from __future__ import annotations

import traceback
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.models import autoscaling_backends

from lab.cloud.activities import Activities, Activity, place
from lab.cloud.events import EventBus, event
from lab.cloud.instances import as_spot, change_state, instance_arn, interruption_warning
from lab.cloud.journal import Journal
from lab.cloud.names import ACCOUNT, REGION
from lab.cloud.timers import Timers

OnRunning = Callable[[str, str, dict[str, str]], None]
OnGone = Callable[[str], None]


@dataclass(frozen=True)
class Pace:
    """Real seconds the emulated service takes for each step."""

    settle: float = 0.2
    look: float = 1.0
    launch: float = 2.0
    terminate: float = 1.0
    notice_death: float = 1.0


def find_group(name: str) -> Any:
    """moto's group of that name. Raises ValidationError when there is none."""
    group = autoscaling_backends[ACCOUNT][REGION].autoscaling_groups.get(name)
    if group is None:
        raise ValidationError(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
    return group


class AutoScaling:
    """The control loop of all groups, over moto's group and instance objects.

    An instance counts towards desired while Pending or InService; an interrupted one is Terminating from its notice on
    (running all the same), so that its replacement starts at once. Hooks run in order in a thread of their own:
    `on_running(instance id, group, instance tags)` and `on_gone(instance id)`, the latter when the machine goes dark.
    """

    def __init__(
        self, bus: EventBus, journal: Journal, timers: Timers, lock: AbstractContextManager[Any], pace: Pace
    ) -> None:
        self._bus, self._journal, self._timers, self._lock, self._pace = bus, journal, timers, lock, pace
        self._hooks = ThreadPoolExecutor(1, thread_name_prefix="instance-hooks")
        self._dark: set[str] = set()
        self._leaving: dict[str, Activity] = {}
        self.activities = Activities()
        self.on_running: OnRunning | None = None
        self.on_gone: OnGone | None = None

    # The API calls that moto's own implementation gets wrong.

    def set_desired(self, name: str, desired: int) -> None:
        """Record the number; the loop acts later. Raises ValidationError outside min..max or for an unknown group."""
        group = find_group(name)
        if desired > group.max_size:
            raise ValidationError(
                f"New SetDesiredCapacity value {desired} is above max value {group.max_size} for the AutoScalingGroup."
            )
        if desired < group.min_size:
            raise ValidationError(
                f"New SetDesiredCapacity value {desired} is below min value {group.min_size} for the AutoScalingGroup."
            )
        self.activities.note_capacity(name, group.desired_capacity, desired)
        group.desired_capacity = desired
        self._settle_soon(name)

    def terminate(self, instance_id: str, decrement: bool) -> Activity:
        """TerminateInstanceInAutoScalingGroup: protected or not. Raises ValidationError as AWS does."""
        group, state = self._managed(instance_id)
        if decrement and group.desired_capacity <= group.min_size:
            raise ValidationError(
                f"Currently, desiredSize equals minSize ({group.min_size}). Terminating instance without replacement "
                "will violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or "
                "lower group's min size."
            )
        if state.lifecycle_state == "Terminating":
            return self._leaving[instance_id]
        if decrement:
            group.desired_capacity -= 1
        return self._take_out(group, state, "taken out of service in response to a user request")

    # What happens to instances without anybody asking.

    def interrupt(self, instance_id: str, notice_seconds: float, deliveries: int = 1) -> None:
        """A Spot interruption: the warning (delivered so many times), the replacement, and the end after the notice."""
        with self._lock:
            group, state = self._managed(instance_id)
            self._note(state, group, "warned", "spot interruption notice")
            warning = interruption_warning(state.instance)
            for _ in range(deliveries):
                self._bus.put(warning)
            if state.lifecycle_state == "Terminating":
                return
            cause = "taken out of service in response to an EC2 instance spot interruption notice"
            self._take_out(group, state, cause, after=notice_seconds)
            self._settle_soon(group.name)

    def kill(self, instance_id: str) -> None:
        """The machine goes without warning; the group finds out at its next health check."""
        with self._lock:
            group, state = self._managed(instance_id)
            self._go_dark(state, group, "terminated without warning")
            change_state(self._bus, state.instance, "terminated")
            cause = "taken out of service in response to an EC2 health check indicating it has been terminated"
            self._timers.after(self._pace.notice_death, lambda: self._take_out_later(instance_id, cause))

    # The loop.

    def watch(self) -> None:
        """Look at every group from time to time, whatever changed it: its bounds, a resumed process."""
        self._timers.every(self._pace.look, self._settle_all, first=self._pace.look)

    def _settle_all(self) -> None:
        for name in list(autoscaling_backends[ACCOUNT][REGION].autoscaling_groups):
            self.settle(name)

    def settle(self, name: str) -> None:
        """Bring a group to its desired capacity: launch what lacks, cancel what is not needed and not protected."""
        with self._lock:
            group = autoscaling_backends[ACCOUNT][REGION].autoscaling_groups.get(name)
            if group is None:
                return
            serving = [s for s in group.instance_states if s.lifecycle_state in ("Pending", "InService")]
            suspended = {process["ProcessName"] for process in group.suspended_processes}
            surplus = len(serving) - group.desired_capacity
            if surplus < 0 and "Launch" not in suspended:
                for _ in range(-surplus):
                    self._launch(group)
            elif surplus > 0 and "Terminate" not in suspended:
                free = [state for state in serving if not state.protected_from_scale_in]
                free.sort(key=lambda state: state.lifecycle_state != "Pending")
                for state in free[:surplus]:
                    self._take_out(group, state, "taken out of service in response to a lower desired capacity")

    def _settle_soon(self, name: str) -> None:
        self._timers.after(self._pace.settle, lambda: self.settle(name))

    def _launch(self, group: Any) -> None:
        group.replace_autoscaling_group_instances(1, group.get_propagated_tags())
        state = group.instance_states[-1]
        state.lifecycle_state, state.protected_from_scale_in = "Pending", False
        as_spot(group, state.instance)
        activity = self.activities.launching(group.name, state.instance)
        self._note(state, group, "pending", activity.cause)
        change_state(self._bus, state.instance, "pending")
        self._timers.after(self._pace.launch, lambda: self._enter_service(group, state, activity))

    def _enter_service(self, group: Any, state: Any, activity: Activity) -> None:
        with self._lock:
            if state.lifecycle_state != "Pending":
                activity.finish("Cancelled")
                return
            change_state(self._bus, state.instance, "running")
            state.lifecycle_state = "InService"
            state.protected_from_scale_in = group.new_instances_protected_from_scale_in
            activity.finish("Successful")
            self._note(state, group, "in_service", activity.cause)
            self._announce(group, state, activity, "EC2 Instance Launch Successful")
            if self.on_running is not None:
                tags = {tag["key"]: tag["value"] for tag in state.instance.get_tags()}
                self._hook(self.on_running, state.instance_id, group.name, tags)

    def _take_out(self, group: Any, state: Any, cause: str, after: float = 0.0) -> Activity:
        """Terminating from now on; the machine is shut down `after` seconds from now and gone a little later."""
        activity = self.activities.terminating(group.name, state.instance_id, cause)
        self._leaving[state.instance_id] = activity
        state.lifecycle_state = "Terminating"
        if after > 0:
            self._timers.after(after, lambda: self._shut_down(group, state, activity))
        else:
            self._shut_down(group, state, activity)
        return activity

    def _take_out_later(self, instance_id: str, cause: str) -> None:
        with self._lock:
            group, state = self._managed(instance_id)
            if state.lifecycle_state != "Terminating":
                self._take_out(group, state, cause)

    def _shut_down(self, group: Any, state: Any, activity: Activity) -> None:
        with self._lock:
            self._go_dark(state, group, activity.cause)
            self._timers.after(self._pace.terminate, lambda: self._gone(group, state, activity))

    def _go_dark(self, state: Any, group: Any, cause: str) -> None:
        if state.instance_id in self._dark:
            return
        self._dark.add(state.instance_id)
        self._note(state, group, "terminating", cause)
        change_state(self._bus, state.instance, "shutting-down")
        if self.on_gone is not None:
            self._hook(self.on_gone, state.instance_id)

    def _gone(self, group: Any, state: Any, activity: Activity) -> None:
        with self._lock:
            if state not in group.instance_states:
                return
            change_state(self._bus, state.instance, "terminated")
            group.instance_states = [other for other in group.instance_states if other is not state]
            activity.finish("Successful")
            self._note(state, group, "terminated", activity.cause)
            self._announce(group, state, activity, "EC2 Instance Terminate Successful")
            self.settle(group.name)

    # Telling the world.

    def _managed(self, instance_id: str) -> tuple[Any, Any]:
        for group in autoscaling_backends[ACCOUNT][REGION].autoscaling_groups.values():
            for state in group.instance_states:
                if state.instance_id == instance_id:
                    return group, state
        raise ValidationError(f"Instance Id not found - No managed instance found for instance ID {instance_id}")

    def _announce(self, group: Any, state: Any, activity: Activity, kind: str) -> None:
        origin, to = ("EC2", "AutoScalingGroup") if "Launch" in kind else ("AutoScalingGroup", "EC2")
        detail = {**activity.detail(), "RequestId": str(uuid.uuid4()), "EC2InstanceId": state.instance_id}
        detail |= {"Origin": origin, "Destination": to, "Details": place(state.instance)}
        self._bus.put(event("aws.autoscaling", kind, detail, [group.arn, instance_arn(state.instance)]))

    def _hook(self, hook: Callable[..., None], *arguments: Any) -> None:
        def run() -> None:
            try:
                hook(*arguments)
            except Exception:  # noqa: BLE001 - nobody waits for the hook: what went wrong is shown, the rest goes on
                traceback.print_exc()

        self._hooks.submit(run)

    def _note(self, state: Any, group: Any, what: str, cause: str) -> None:
        self._journal.write("instance", id=state.instance_id, group=group.name, state=what, cause=cause)

    def close(self) -> None:
        self._hooks.shutdown(wait=True, cancel_futures=True)
