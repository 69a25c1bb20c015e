"""The first act: an ordinary day of two fleets, from zero and back; and its short form."""

from lab.jobs import Burst
from lab.story import SWAP, VIDEO, Scene, Stage, Story


def _trickle(start: float, workflow: str, jobs: int, every: float) -> tuple[Burst, ...]:
    return tuple(Burst(f"trickle {n + 1}", start + n * every, workflow, 1, seconds=(2.0, 3.0)) for n in range(jobs))


def _watch(_: Stage) -> None:
    """A scene in which the platform acts by itself."""


FULL = Story(
    bursts=(
        Burst("first videos", 1.5, VIDEO, 10, long=1, long_seconds=30),
        # Two long ones: by their durations a job that has just begun will not end within a notice.
        Burst("first swaps", 12.0, SWAP, 8, nudged=True, long=2, long_seconds=16),
        Burst("more videos", 18.0, VIDEO, 6, nudged=True),
        Burst("more swaps", 34.0, SWAP, 10, seconds=(5.0, 7.0)),
        Burst("videos again", 47.0, VIDEO, 16, seconds=(4.0, 6.0)),
        Burst("swaps again", 58.0, SWAP, 14, nudged=True),
        Burst("after the outage", 79.0, VIDEO, 18, nudged=True),
        *_trickle(85.0, VIDEO, jobs=6, every=2.5),
    ),
    scenes=(
        Scene(0.0, "From zero: a burst without a nudge is answered by the tick", _watch, shows="from zero by the tick"),
        Scene(12.0, "From zero: a burst with a nudge is answered at once", _watch, shows="from zero by a nudge"),
        Scene(18.0, "The backlog grows: more instances", _watch, shows="backlog followed"),
        Scene(29.0, "Idle instances go one by one while a neighbour works on", _watch, shows="idle one gone"),
        Scene(
            43.0,
            "Spot takes back a busy instance; the warning comes twice",
            lambda s: s.interruption(SWAP),
            shows="second warning",
        ),
        Scene(55.0, "A busy instance is gone without warning", lambda s: s.sudden_death(VIDEO), shows="sudden death"),
        Scene(
            61.0,
            "An administrator drains a worker: nobody else may touch it",
            lambda s: s.admin_drains(SWAP),
            shows="admin's drain",
        ),
        Scene(69.0, "The database is away for eight seconds: hold", lambda s: s.outage(8.0), shows="hold"),
        Scene(79.0, "On again, then a trickle, and a lull elsewhere", _watch),
        Scene(82.0, "Spot again, elsewhere", lambda s: s.interruption(VIDEO)),
        Scene(
            84.5, "A job comes between the queue-empty alarm and scale-in", lambda s: s.late_job(SWAP), shows="late job"
        ),
        Scene(100.0, "The administrator gives the worker back", lambda s: s.admin_undrains()),
        Scene(106.0, "Nothing left to do: scale to zero", _watch, shows="scale to zero"),
    ),
    limit=150.0,
)

SHORT = Story(
    bursts=(
        # Long enough to be still at it when the warning is answered, on a slow machine too.
        Burst("first swaps", 1.0, SWAP, 6, nudged=True, seconds=(7.0, 8.0)),
        Burst("first videos", 2.5, VIDEO, 6, seconds=(4.0, 6.0)),
    ),
    scenes=(
        Scene(0.0, "From zero, with and without a nudge", _watch),
        Scene(
            8.0,
            "Spot takes back a busy instance; the warning comes twice",
            lambda s: s.interruption(SWAP),
            shows="second warning",
        ),
        Scene(17.0, "A busy instance is gone without warning", lambda s: s.sudden_death(VIDEO), shows="sudden death"),
        Scene(26.0, "Nothing left to do: scale to zero", _watch, shows="scale to zero"),
    ),
    limit=100.0,
)
