"""Auto Scaling as it really behaves: capacity is only recorded, instances come and go later, and say so in events."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.models import autoscaling_backends

from lab.cloud.activities import Activities, Activity
from lab.cloud.events import EventBus
from lab.cloud.instances import change_state, interruption_warning, rebalance_recommendation
from lab.cloud.journal import Journal
from lab.cloud.lifecycle import LifecycleHooks
from lab.cloud.market import Market, Risks
from lab.cloud.members import Pace, find_group, find_member, is_leaving, new_member
from lab.cloud.names import ACCOUNT, REGION
from lab.cloud.notices import Notices
from lab.cloud.timers import Timers

__all__ = ["AutoScaling", "Pace"]

SHRINKING = (
    "taken out of service in response to a difference between desired and actual capacity, shrinking the capacity from "
    "{} to {}"
)
OnRunning = Callable[[str, str, dict[str, str]], None]
OnGone = Callable[[str], None]
OnWarned = Callable[[str, float], None]


class AutoScaling:
    """The control loop of all groups, over moto's group and instance objects.

    An instance counts towards desired while Pending or InService; an interrupted one is Terminating from its notice on
    (running all the same), so that its replacement starts at once. On its way out an instance waits for the group's
    lifecycle hooks (Terminating:Wait); EC2 does not: at the end of a notice the machine is gone, whoever waits.
    `on_running(instance id, group, instance tags)`, `on_warned(instance id, seconds to its end)` for what its metadata
    service announces, and `on_gone(instance id)` when the machine goes dark, run in order in a thread of their own.
    """

    def __init__(
        self, bus: EventBus, journal: Journal, timers: Timers, lock: AbstractContextManager[Any], pace: Pace
    ) -> None:
        self._bus, self._timers, self._lock, self._pace = bus, timers, lock, pace
        self._tell = Notices(bus, journal)
        self.hooks = LifecycleHooks(bus, journal, timers, lock, pace.hooks)
        self.market = Market(pace.retry)
        self._risks = Risks()
        self._dark: set[str] = set()
        self._leaving: dict[str, Activity] = {}
        self.activities = Activities()
        self.on_running: OnRunning | None = None
        self.on_gone: OnGone | None = None
        self.on_warned: OnWarned | None = None

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
        self.market.try_at_once(name)
        self._settle_soon(name)

    def terminate(self, instance_id: str, decrement: bool) -> Activity:
        """TerminateInstanceInAutoScalingGroup: protected or not. Raises ValidationError as AWS does."""
        group, state = find_member(instance_id)
        if decrement and group.desired_capacity <= group.min_size:
            raise ValidationError(
                f"Currently, desiredSize equals minSize ({group.min_size}). Terminating instance without replacement "
                "will violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or "
                "lower group's min size."
            )
        if is_leaving(state):
            return self._leaving[instance_id]
        if decrement:
            group.desired_capacity -= 1
        return self._take_out(group, state, "taken out of service in response to a user request")

    # What happens to instances without anybody asking.

    def interrupt(self, instance_id: str, notice_seconds: float, deliveries: int = 1) -> None:
        """A Spot interruption: the warning (delivered so many times), the replacement, and the end after the notice."""
        with self._lock:
            group, state = find_member(instance_id)
            self._tell.note(state, group, "warned", "spot interruption notice")
            warning = interruption_warning(state.instance)
            for _ in range(deliveries):
                self._bus.put(warning)
            if self.on_warned is not None:
                self._tell.hook(self.on_warned, instance_id, notice_seconds)
            if is_leaving(state):
                self._timers.after(notice_seconds, lambda: self._reclaim(group, state))
                return
            cause = "taken out of service in response to an EC2 instance spot interruption notice"
            self._take_out(group, state, cause, after=notice_seconds)
            self._settle_soon(group.name)

    def recommend(self, instance_id: str) -> None:
        """EC2 sees the instance at risk; a group with capacity rebalancing launches its replacement beside it."""
        with self._lock:
            group, state = find_member(instance_id)
            self._tell.note(state, group, "recommended", "rebalance recommendation")
            self._bus.put(rebalance_recommendation(state.instance))
            if group.capacity_rebalance:
                self._risks.add(instance_id)
                self._settle_soon(group.name)

    def kill(self, instance_id: str) -> None:
        """The machine goes without warning; the group finds out at its next health check."""
        with self._lock:
            group, state = find_member(instance_id)
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
        """Bring a group to its desired capacity: launch what lacks, cancel what is not needed and not protected.

        Replacements for instances at risk come on top, up to a tenth (at least one) above the group's maximum.
        """
        with self._lock:
            group = autoscaling_backends[ACCOUNT][REGION].autoscaling_groups.get(name)
            if group is None:
                return
            serving = [s for s in group.instance_states if s.lifecycle_state in ("Pending", "InService")]
            beside = self._risks.beside(serving)
            counted = [state for state in serving if state.instance_id not in beside]
            suspended = {process["ProcessName"] for process in group.suspended_processes}
            surplus = len(counted) - group.desired_capacity
            if "Launch" not in suspended and self.market.tries(name):
                for _ in range(-surplus):
                    self._launch(group)
                self._replace_those_at_risk(group, len(serving) + max(0, -surplus))
            if surplus > 0 and "Terminate" not in suspended:
                free = [state for state in counted if not state.protected_from_scale_in]
                free.sort(key=lambda state: state.lifecycle_state != "Pending")
                for less, state in enumerate(free[:surplus]):
                    left = len(counted) - less
                    self._take_out(group, state, SHRINKING.format(left, left - 1))

    def _replace_those_at_risk(self, group: Any, existing: int) -> None:
        room = group.max_size + max(1, group.desired_capacity // 10) - existing
        for old in self._risks.unreplaced(group.instance_states)[: max(0, room)]:
            new = self._launch(group, "in response to an EC2 instance rebalance recommendation")
            if new is not None:
                self._risks.replace(old, new.instance_id)

    def _settle_soon(self, name: str) -> None:
        self._timers.after(self._pace.settle, lambda: self.settle(name))

    def _launch(self, group: Any, why: str = "") -> Any | None:
        """The new member, or None when the market refused it."""
        subnet, refusal = self.market.answer(group)
        if refusal:
            self._tell.refused(group, self.activities.refused(group.name, refusal))
            return None
        state = new_member(group, subnet)
        activity = self.activities.launching(group.name, state.instance, why)
        self._tell.note(state, group, "pending", activity.cause)
        change_state(self._bus, state.instance, "pending")
        self._timers.after(self._pace.launch, lambda: self._enter_service(group, state, activity))
        return state

    def _enter_service(self, group: Any, state: Any, activity: Activity) -> None:
        with self._lock:
            if state.lifecycle_state != "Pending":
                activity.finish("Cancelled")
                return
            change_state(self._bus, state.instance, "running")
            state.lifecycle_state = "InService"
            state.protected_from_scale_in = group.new_instances_protected_from_scale_in
            activity.finish("Successful")
            self._tell.note(state, group, "in_service", activity.cause)
            self._tell.announce(group, state, activity, "EC2 Instance Launch Successful")
            if self.on_running is not None:
                tags = {tag["key"]: tag["value"] for tag in state.instance.get_tags()}
                self._tell.hook(self.on_running, state.instance_id, group.name, tags)

    def _take_out(self, group: Any, state: Any, cause: str, after: float = 0.0) -> Activity:
        """Terminating from now on; the machine is shut down `after` seconds from now and gone a little later."""
        activity = self.activities.terminating(group.name, state.instance_id, cause)
        self._leaving[state.instance_id] = activity
        state.lifecycle_state = "Terminating"
        shut_down = partial(self._shut_down, group, state, activity)
        if self.hooks.begin(group, state.instance_id, shut_down):
            state.lifecycle_state = "Terminating:Wait"
        elif after == 0:
            shut_down()
        if after > 0:
            self._timers.after(after, lambda: self._reclaim(group, state))
        return activity

    def _take_out_later(self, instance_id: str, cause: str) -> None:
        with self._lock:
            group, state = find_member(instance_id)
            if not is_leaving(state):
                self._take_out(group, state, cause)

    def _reclaim(self, group: Any, state: Any) -> None:
        """The notice is over: the machine goes, while the group may still wait for a hook."""
        with self._lock:
            if state.lifecycle_state != "Terminating:Wait":
                self._shut_down(group, state, self._leaving[state.instance_id])
                return
            self._go_dark(state, group, self._leaving[state.instance_id].cause)
            self._timers.after(self._pace.terminate, lambda: self._end_machine(state))

    def _end_machine(self, state: Any) -> None:
        with self._lock:
            change_state(self._bus, state.instance, "terminated")

    def _shut_down(self, group: Any, state: Any, activity: Activity) -> None:
        with self._lock:
            if state.lifecycle_state == "Terminating:Wait":
                state.lifecycle_state = "Terminating:Proceed"
            self._go_dark(state, group, activity.cause)
            self._timers.after(self._pace.terminate, lambda: self._gone(group, state, activity))

    def _go_dark(self, state: Any, group: Any, cause: str) -> None:
        if state.instance_id in self._dark:
            return
        self._dark.add(state.instance_id)
        self._tell.note(state, group, "terminating", cause)
        change_state(self._bus, state.instance, "shutting-down")
        if self.on_gone is not None:
            self._tell.hook(self.on_gone, state.instance_id)

    def _gone(self, group: Any, state: Any, activity: Activity) -> None:
        with self._lock:
            if state not in group.instance_states:
                return
            change_state(self._bus, state.instance, "terminated")
            group.instance_states = [other for other in group.instance_states if other is not state]
            activity.finish("Successful")
            self._tell.note(state, group, "terminated", activity.cause)
            self._tell.announce(group, state, activity, "EC2 Instance Terminate Successful")
            self.settle(group.name)

    def close(self) -> None:
        self._tell.close()
