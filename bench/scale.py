"""How large a stage is measured, and the names that its tables and its cloud agree on."""

from __future__ import annotations

from dataclasses import dataclass, replace

STAGE = "staging"
NOW = 1_767_614_430
"""The database's clock stands still here (2026-01-05 12:00:30 UTC), so that every run sees the same second."""

IDLE_SECONDS = 86_400
"""No instance is idle for so long: a look changes nothing, and the next run sees the same stage."""


@dataclass(frozen=True, slots=True)
class Scale:
    """`old` and `recent` dispatches are finished, recent ones within twenty minutes; `live` are queued or leased."""

    fleets: int = 100
    workers: int = 5_000
    old: int = 970_000
    recent: int = 20_000
    live: int = 10_000
    boots: bool = True
    """Whether in each fleet one instance boots."""

    @property
    def dispatches(self) -> int:
        return self.old + self.recent + self.live

    @property
    def crew(self) -> int:
        """Registered workers of one fleet."""
        return self.workers // self.fleets

    @property
    def jobs(self) -> int:
        """Live jobs of one fleet."""
        return self.live // self.fleets

    @property
    def leases(self) -> int:
        """Leased jobs of one fleet: at most one a worker, none for the first one, which Spot takes back."""
        return min(self.crew - 1, self.jobs * 46 // 100)


BASE = Scale()
DEPLOYED = Scale(fleets=2, workers=50, recent=400, live=100)
"""What the template's defaults come to at full load: two workflows, and the backend's cap of 50 workers."""
CALM = replace(DEPLOYED, boots=False)
"""The same in the hours in which no instance boots, which are most."""


def slug(fleet: int) -> str:
    """Fleets count from 0; a workflow's id is its fleet's number plus one."""
    return f"workflow-{fleet:04d}"


def group(fleet: int) -> str:
    return f"asg-{STAGE}-{slug(fleet)}"


def instance_id(fleet: int, number: int) -> str:
    return f"i-{fleet:08x}{number:09x}"


BOOTING = 0xFFFFF
"""Number of the instance of each fleet that is up and has not registered yet."""
