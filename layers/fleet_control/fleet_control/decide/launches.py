"""What became of a fleet's launches: which failed, why AWS refuses, and since when."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zlib import crc32

from fleet_control.decide.breaker import FAILURES
from fleet_control.decide.capacity import Capacity
from fleet_control.decide.model import FailedLaunch, Fleet, LaunchHistory, Standing
from fleet_control.decide.standing import seconds_since

UNSEEN_SECONDS = 60
"""A launch this young may be missing in a group that was read moments before; an older one has been detached."""

RETRY_GAP_SECONDS = 3600
"""A group that is refused tries again after seconds, later after minutes. A longer pause ended the blockade."""

MOST_BOOTING = 3
"""Fleets that merely boot whose launches one look reads: each costs a call, and a page of a hundred to parse."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How an instance left: the cause in its group's words, and whether EC2 says that Spot took it."""

    at: datetime
    cause: str
    by_spot: bool = False

    @property
    def is_excused(self) -> bool:
        """Spot, a rebalance or a lower desired capacity says nothing of the image."""
        return self.by_spot or any(words in self.cause.lower() for words in _EXCUSES)


_EXCUSES = ("spot interruption", "rebalance", "difference between desired and actual capacity")


@dataclass(frozen=True, slots=True)
class Launch:
    """One attempt of a group. `refusal` is AWS's message when no instance came of it; `ended` None while it lasts."""

    at: datetime
    instance_id: str | None = None
    refusal: str | None = None
    ended: Ended | None = None
    cancelled: bool = False
    """An attempt all the same: an instance was launched, and is not there."""


@dataclass(frozen=True, slots=True)
class Registrations:
    """When instances registered, by id. Before `complete_since` the log was not read; None: it was read to its end."""

    at: Mapping[str, datetime]
    complete_since: datetime | None = None


def asks_for_history(fleet: Fleet, needs: Capacity) -> bool:
    """Only a fleet that is short of what it asks for or needs, waits for a registration, or may not launch by itself:
    what ends itself while it boots is replaced by its group before anybody sees the fleet short."""
    return _needs_history(fleet, needs) or _boots(needs)


def asking(fleets: Sequence[Fleet], needs: Mapping[str, Capacity], now: datetime) -> frozenset[str]:
    """Whose launches this look reads. Of those that merely boot no more than MOST_BOOTING, in an order that the
    instant decides: reading costs a call each, and the breaker is in no hurry with an image that works as a rule."""
    must = {fleet.name for fleet in fleets if _needs_history(fleet, needs[fleet.name])}
    boot = {fleet.name for fleet in fleets if _boots(needs[fleet.name])} - must
    turn = sorted(boot, key=lambda name: crc32(f"{name} {now.isoformat()}".encode()))
    return frozenset(must | set(turn[:MOST_BOOTING]))


def _needs_history(fleet: Fleet, needs: Capacity) -> bool:
    return needs.existing < max(fleet.desired, needs.target) or needs.overdue > 0 or fleet.launches_held


def _boots(needs: Capacity) -> bool:
    return Standing.BOOTING in (needs.standing or {}).values()


def history(
    launches: Sequence[Launch], fleet: Fleet, where: Mapping[str, Standing], registered: Registrations, now: datetime
) -> LaunchHistory:
    """`launches` newest first, as far back as they were read; `where` is the standing of the fleet's members."""
    overdue = {name for name, standing in where.items() if standing is Standing.OVERDUE}
    failures = sorted(_failures(launches, fleet, overdue, registered))
    # Where nobody may try, the last refusals stand however old: after a day of them AWS itself suspends Launch.
    refused = _refused(launches, launches[0].at if fleet.launches_stopped and launches else now)
    return LaunchHistory(
        failed_in_a_row=len(failures),
        opened_at=failures[FAILURES - 1] if len(failures) >= FAILURES else None,
        refused=refused[0] if refused else None,
        blocked_since=refused[-1].at if refused else None,
        attempted_at=launches[0].at if launches else None,
        unseen=_unseen(launches, {member.id for member in fleet.instances}, now),
    )


def _failures(
    launches: Sequence[Launch], fleet: Fleet, overdue: set[str], registered: Registrations
) -> Iterable[datetime]:
    """When each failed. A registration excuses whatever was launched no later than the instance itself, however late
    it comes: of an image that was shipped after its launch it tells nothing."""
    deadline = timedelta(seconds=fleet.policy.launch_deadline_seconds)
    proven = [one.at for one in launches if one.instance_id in registered.at]
    since = max([*proven, *([registered.complete_since] if registered.complete_since else [])], default=None)
    for one in launches:
        if since is not None and one.at <= since:
            return
        if one.instance_id is None:
            continue
        if one.instance_id in overdue:
            yield one.at + deadline
        elif one.ended is not None and not one.ended.is_excused:
            yield min(one.at + deadline, one.ended.at)


def _unseen(launches: Iterable[Launch], members: set[str], now: datetime) -> int:
    young = [one for one in launches if seconds_since(one.at, now) < UNSEEN_SECONDS]
    under_way = [one for one in young if one.refusal is None and one.ended is None and not one.cancelled]
    return sum(one.instance_id not in members for one in under_way)


def _refused(launches: Iterable[Launch], after: datetime) -> list[FailedLaunch]:
    """The refused attempts in a row, newest first; none when AWS launches, or when the last refusal is long past."""
    found: list[FailedLaunch] = []
    for one in launches:
        if one.refusal is None or seconds_since(one.at, after) > RETRY_GAP_SECONDS:
            break
        found.append(FailedLaunch(refusal_code(one.refusal), one.refusal, one.at))
        after = one.at
    return found


@dataclass(frozen=True, slots=True)
class Refusal:
    """A class of AWS's messages; `advice` is what an operator should know."""

    code: str
    words: re.Pattern[str]
    advice: str


def _refusal(code: str, words: str, advice: str) -> Refusal:
    return Refusal(code, re.compile(words, re.IGNORECASE), advice)


# Source: EC2 Auto Scaling user guide, troubleshooting launch failures. The first that fits wins.
REFUSALS = (
    _refusal(
        "quota",
        "MaxSpotInstanceCountExceeded|max spot instance count|vcpu|LimitExceeded(?<!RequestLimitExceeded)|quota",
        "the account's quota for these instances is used up (Service Quotas: All G and VT Spot Instance Requests)",
    ),
    _refusal(
        "no_capacity",
        "InsufficientInstanceCapacity|UnfulfillableCapacity|sufficient .*capacity|no spot capacity|SpotMaxPriceTooLow",
        "Spot has none of the fleet's instance types in its zones; the group goes on trying",
    ),
    _refusal(
        "image",
        r"InvalidAMI|\bimage\b|\bAMI\b|/ami/|ami-[0-9a-f]",
        "the image is missing or cannot be used: check the fleet's image parameter",
    ),
    _refusal(
        "permission",
        "UnauthorizedOperation|not authorized|AccessDenied|AuthFailure|KMS|Client.InternalError|iam:PassRole",
        "AWS does not let the group launch: check the instance profile, the encryption key and the service-linked role",
    ),
    _refusal("throttled", "RequestLimitExceeded|Throttl", "AWS limits the rate of launches; the group goes on trying"),
    _refusal(
        "parameter",
        "invalid|does not exist|not found|not supported|unsupported|missing|validation",
        "the launch template or the group names something that EC2 does not accept",
    ),
    _refusal("unknown", "", "AWS refused for a reason not known here"),
)


def refusal_code(message: str) -> str:
    """The class of a scaling activity's message."""
    return next(one.code for one in REFUSALS if one.words.search(message))


def advice(code: str) -> str:
    return next(one.advice for one in REFUSALS if one.code == code)
