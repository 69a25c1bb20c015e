"""The stage's limit: the sum of desired over all fleets stays within `FleetWorkerLimit`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Request:
    """One fleet's wish: from `current` to `asked` instances. Down to `floor` it can be taken without anybody going."""

    fleet: str
    current: int
    asked: int
    oldest_waiting_at: datetime | None
    floor: int = 0


def grant(requests: Iterable[Request], limit: int, reserved: int = 0) -> dict[str, int]:
    """Desired capacity granted by fleet. Lowering is always granted; raises go to the oldest waiting job first.

    `reserved` is capacity that counts against the limit without asking for anything (fleets on hold). Beyond the limit
    (it has been lowered) what has not been launched yet is given up, the youngest waiting job first.
    """
    asked = list(requests)
    granted = {request.fleet: min(request.current, request.asked) for request in asked}
    room = limit - reserved - sum(granted.values())
    for request in sorted((r for r in asked if r.asked > r.current), key=_oldest_first):
        extra = max(0, min(request.asked - request.current, room))
        granted[request.fleet] += extra
        room -= extra
    for request in sorted(asked, key=_oldest_first, reverse=True):
        less = max(0, min(granted[request.fleet] - request.floor, -room))
        granted[request.fleet] -= less
        room += less
    return granted


def _oldest_first(request: Request) -> tuple[bool, str, str]:
    since = request.oldest_waiting_at
    return since is None, since.isoformat() if since else "", request.fleet
