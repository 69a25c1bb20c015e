"""What the world hears of a group: the journal, the event bus, and whoever runs the machines."""

from __future__ import annotations

import traceback
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lab.cloud.activities import Activity, place
from lab.cloud.events import EventBus, event
from lab.cloud.instances import instance_arn
from lab.cloud.journal import Journal


class Notices:
    """Hooks run one after the other in a thread of their own, so that nobody who holds the lock waits for them."""

    def __init__(self, bus: EventBus, journal: Journal) -> None:
        self._bus, self._journal = bus, journal
        self._hooks = ThreadPoolExecutor(1, thread_name_prefix="instance-hooks")

    def note(self, state: Any, group: Any, what: str, cause: str) -> None:
        about = {"id": state.instance_id, "group": group.name, "zone": state.instance.availability_zone}
        self._journal.write("instance", **about, state=what, cause=cause)

    def announce(self, group: Any, state: Any, activity: Activity, kind: str) -> None:
        """`EC2 Instance Launch Successful` or `EC2 Instance Terminate Successful`."""
        origin, to = ("EC2", "AutoScalingGroup") if "Launch" in kind else ("AutoScalingGroup", "EC2")
        detail = {**activity.detail(), "RequestId": str(uuid.uuid4()), "EC2InstanceId": state.instance_id}
        detail |= {"Origin": origin, "Destination": to, "Details": place(state.instance)}
        self._bus.put(event("aws.autoscaling", kind, detail, [group.arn, instance_arn(state.instance)]))

    def refused(self, group: Any, activity: Activity) -> None:
        self._journal.write("launch_failed", group=group.name, message=activity.status_message)
        detail = {**activity.detail(), "RequestId": activity.activity_id, "EC2InstanceId": ""}
        detail |= {"Origin": "EC2", "Destination": "AutoScalingGroup", "Details": {}}
        self._bus.put(event("aws.autoscaling", "EC2 Instance Launch Unsuccessful", detail, [group.arn]))

    def hook(self, hook: Callable[..., None], *arguments: Any) -> None:
        def run() -> None:
            try:
                hook(*arguments)
            except Exception:  # noqa: BLE001 - nobody waits for the hook: what went wrong is shown, the rest goes on
                traceback.print_exc()

        self._hooks.submit(run)

    def close(self) -> None:
        self._hooks.shutdown(wait=True, cancel_futures=True)
