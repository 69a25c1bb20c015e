"""The second act: what a fleet on Spot sees in a month, in a minute and a half. The seed decides the whole of it."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from lab.jobs import TENANTS, Arrival, Burst
from lab.story import NOTICE_SECONDS, SWAP, VIDEO, Scene, SceneFailedError, Stage, Story

CODES = ("InsufficientInstanceCapacity", "UnfulfillableCapacity", "MaxSpotInstanceCountExceeded")
TAGS = {
    "fleet:warmup-seconds": "5",
    "fleet:launch-grace-seconds": "6",
    "fleet:silent-seconds": "7",
    "fleet:probe-seconds": "8",
    "fleet:drain-limit-seconds": "6",
    "fleet:scale-to-zero-minutes": "0.2",
}
"""What an operator tightens before it: 11 s to register, 7 s of silence, a probe each 8 s for the 10 minutes."""

AWAY_SECONDS = 13.0
LAUNCHED_WITHIN = 7.0
"""So long the broken image's jobs are topped up: then all fall silent, and nobody is launched."""
MOST_LAUNCHES = 16
"""Of one fleet in this act: its peak, as many replacements again, the broken ones, and probes."""


@dataclass(frozen=True)
class Plot:
    """What the seed decided. `calm` meets the rebalance and the zone's end, `troubled` the dry market and the image."""

    calm: str
    troubled: str
    code: str
    drought: float
    rebalance_at: float
    rebalance_twice: bool
    zone_at: float
    warnings: int
    image_at: float
    unlucky: int
    away_at: float
    fixed_at: float
    calm_jobs: int
    troubled_jobs: int

    @classmethod
    def of(cls, seed: int) -> Plot:
        dice = random.Random(f"second act {seed}")
        calm, troubled = dice.sample((VIDEO, SWAP), 2)
        image_at = round(dice.uniform(27.0, 30.0), 1)
        return cls(
            calm=calm,
            troubled=troubled,
            code=dice.choice(CODES),
            drought=round(dice.uniform(11.0, 16.0), 1),
            rebalance_at=round(dice.uniform(8.0, 10.0), 1),
            rebalance_twice=dice.random() < 0.5,
            zone_at=round(dice.uniform(18.5, 21.0), 1),
            warnings=dice.choice((1, 2)),
            image_at=image_at,
            unlucky=dice.choice((3, 4)),
            away_at=image_at + round(dice.uniform(3.0, 5.0), 1),
            fixed_at=image_at + round(dice.uniform(18.5, 20.0), 1),
            calm_jobs=dice.choice((5, 6, 7, 8)),
            troubled_jobs=dice.choice((3, 4)),
        )


def second_act(seed: int) -> Story:
    plot = Plot.of(seed)
    return Story(
        name="second act",
        bursts=(
            Burst("act 2, calm", 1.0, plot.calm, plot.calm_jobs, nudged=True, seconds=(7.0, 10.0)),
            Burst("act 2, into the drought", 2.5, plot.troubled, plot.troubled_jobs, nudged=True, seconds=(3.0, 5.0)),
            Burst("act 2, on the mended image", plot.fixed_at + 2.0, plot.troubled, 3, nudged=True, seconds=(4.0, 6.0)),
            Burst("act 2, into the zone's end", plot.zone_at - 3.0, plot.calm, 5, nudged=True, seconds=(5.0, 8.0)),
        ),
        scenes=(
            Scene(0.0, f"Act 2. The Spot market of {plot.troubled} is dry: {plot.code}", dry(plot), shows="dry market"),
            Scene(
                plot.rebalance_at,
                f"EC2 recommends to replace the whole pool of {plot.calm}",
                recommend(plot),
                shows="pool replaced",
            ),
            Scene(plot.drought, f"There is capacity for {plot.troubled} again", capacity_again(plot)),
            Scene(
                plot.zone_at,
                "A zone is reclaimed: all its instances are warned at once",
                zone_reclaimed(plot),
                shows="zone reclaimed",
            ),
            Scene(
                plot.image_at,
                f"A broken image for {plot.troubled}: nothing on it registers",
                broken_image(plot),
                shows="broken image",
            ),
            Scene(
                plot.away_at,
                f"The backend is away for {AWAY_SECONDS:.0f} s: all workers fall silent",
                backend_away,
                shows="backend away",
            ),
            Scene(plot.fixed_at, f"The image of {plot.troubled} is mended; a probe will find out", mended(plot)),
        ),
        limit=115.0,
        tags=TAGS,
        most_launches=MOST_LAUNCHES,
    )


Play = Callable[[Stage], None]


def dry(plot: Plot) -> Play:
    return lambda stage: stage.platform.refuse_launches(plot.troubled, plot.code)


def capacity_again(plot: Plot) -> Play:
    return lambda stage: stage.platform.allow_launches(plot.troubled)


def recommend(plot: Plot) -> Play:
    """A whole pool at once, as EC2 does; half of the seeds say it twice."""

    def play(stage: Stage) -> None:
        pool = stage.in_service(plot.calm)
        if not pool:
            raise SceneFailedError(f"{plot.calm} had no instance to recommend")
        stage.platform.recommend(pool * (2 if plot.rebalance_twice else 1))

    return play


def zone_reclaimed(plot: Plot) -> Play:
    def play(stage: Stage) -> None:
        stage.busy_worker(plot.calm)
        zones = Counter(stage.platform.zones(plot.calm).values())
        zone = max(sorted(zones), key=lambda name: zones[name])
        warned = stage.platform.reclaim_zone(zone, NOTICE_SECONDS, plot.warnings)
        stage.journal.write("zone", zone=zone, state="reclaimed", warned=warned)
        if not warned:
            raise SceneFailedError(f"nobody was in {zone}")
        stage.stop.wait(NOTICE_SECONDS)
        stage.platform.reopen_zone(zone)

    return play


def broken_image(plot: Plot) -> Play:
    """Then as many jobs as make the fleet launch `unlucky` instances of it, long enough to be still there later.

    They are kept at that number until it has: on a slow machine some are done before anybody looks.
    """

    def play(stage: Stage) -> None:
        stage.all_registered(plot.troubled)  # or some of what boots would be of the good image
        stage.platform.ship_image(plot.troubled, broken=True)
        there = set(stage.in_service(plot.troubled))
        dice, tenant = random.Random(f"{plot}"), TENANTS[plot.unlucky]
        deadline = time.monotonic() + LAUNCHED_WITHIN
        while len(set(stage.in_service(plot.troubled)) - there) < plot.unlucky and time.monotonic() < deadline:
            # A drain of the idle is undone for these jobs: who is kept is counted anew each time.
            wanted = 2 * (len(there.intersection(stage.kept(plot.troubled))) + plot.unlucky)
            for number in range(wanted - stage.demand(plot.troubled)):
                seconds = round(dice.uniform(5.0, 7.0), 2)
                stage.source.submit(Arrival(0.0, "act 2, broken image", plot.troubled, tenant, seconds, nudged=True))
                if number == 0:
                    stage.nudge(plot.troubled)
            if stage.stop.wait(0.5):
                return

    return play


def mended(plot: Plot) -> Play:
    def play(stage: Stage) -> None:
        with stage.backend:  # nobody could register
            stage.platform.ship_image(plot.troubled, broken=False)

    return play


def backend_away(stage: Stage) -> None:
    """Nudged when all have been silent for long enough, so that the control plane surely looks then."""
    with stage.backend:
        stage.someone_idle()
        back = stage.platform.backend_away(AWAY_SECONDS)
        stage.stop.wait(AWAY_SECONDS - 2.5)
        stage.nudge(VIDEO)
        stage.stop.wait(1.5)
        stage.nudge(SWAP)
        back.join()
    stage.stop.wait(1.5)
    stage.nudge(VIDEO)
