"""The breaker on launches that never register: a broken image must not be launched all night."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fleet_control.decide.model import LaunchHistory, Policy

FAILURES = 3
"""So many launches in a row without a registration open the breaker."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """`launches` is how many more instances may be launched now; None: as many as are wanted."""

    launches: int | None
    reason: str = ""
    is_open: bool = False
    probes: bool = False

    @property
    def holds(self) -> bool:
        """Whether the group may not even launch for what ends itself."""
        return self.launches == 0

    def within(self, existing: int, target: int) -> int:
        """The target, or what may exist at most."""
        return target if self.launches is None else min(target, existing + self.launches)


CLOSED = Breaker(None)


def breaker(history: LaunchHistory, policy: Policy, booting: int, now: datetime) -> Breaker:
    """Closed without a failure since the launch of the newest that registered. From the first failure on no more are
    under way than would open it; once open, one probe at a time. Nobody has to close it: a registration ends the row.
    """
    failed = history.failed_in_a_row
    if not failed:
        return CLOSED
    if failed < FAILURES:
        return Breaker(max(0, FAILURES - failed - booting), f"{failed} of {FAILURES} launches have failed in a row")
    return _open(history, policy, booting, now)


def _open(history: LaunchHistory, policy: Policy, booting: int, now: datetime) -> Breaker:
    """The first probe comes a period after the breaker has opened, each other a period after the one before."""
    why = f"breaker open: {history.failed_in_a_row} launches in a row never registered"
    if booting:
        return Breaker(0, f"{why}; one is booting", is_open=True)
    last = [at for at in (history.opened_at, history.attempted_at) if at is not None]
    wait = (max(last) + timedelta(seconds=policy.probe_seconds) - now).total_seconds() if last else 0
    if wait > 0:
        return Breaker(0, f"{why}; next probe in {wait:.0f} s", is_open=True)
    return Breaker(1, f"{why}; a probe is due", is_open=True, probes=True)
