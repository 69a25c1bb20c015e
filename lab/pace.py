"""The demo's time constants: what is scaled, and how that is said on screen."""

from lab.cloud.functions import RETRY_DELAYS
from lab.cloud.groups import Pace
from lab.deployed import defaults
from lab.story import NOTICE_SECONDS
from lab.workers import WorkerPace
from lab.world import Scale

MINUTE, EMPTY_MINUTES = 10.0, 2
PACE = WorkerPace(boot=2.5, poll=1.0, heartbeat=2.0, registrations_per_minute=200, notice=1.0, margin=1.0)
SCALE = Scale(
    minute=MINUTE,
    retries=0.02,
    pace=Pace(settle=0.2, launch=1.5, terminate=1.0, notice_death=1.0, retry=4.0, hooks=NOTICE_SECONDS / 120),
)
TAGS = {
    "fleet:idle-seconds": "5",
    "fleet:scale-to-zero-minutes": "0.5",
    "fleet:warmup-seconds": "5",
    "fleet:launch-grace-seconds": "30",
    "fleet:silent-seconds": "60",
    "fleet:drain-look-seconds": "1",
    "fleet:drain-limit-seconds": "15",
    "fleet:notice-seconds": f"{NOTICE_SECONDS:g}",
    "fleet:end-margin-seconds": "3",
    "fleet:probe-seconds": "8",
    "fleet:job-timeout-seconds": "60",
}
SCALED = (  # what, as deployed, here; names in braces are those of `defaults`
    ("tick of the control loop", "{tick_seconds} s", "{tick_seconds} s, as deployed"),
    ("warm-up of an instance", "{warmup_seconds} s", f"{TAGS['fleet:warmup-seconds']} s"),
    ("idle window before scale-in", "{idle_seconds} s", f"{TAGS['fleet:idle-seconds']} s"),
    ("quiet before the last instance goes", "{scale_to_zero_minutes} min",
     f"{60 * float(TAGS['fleet:scale-to-zero-minutes']):.0f} s"),
    ("empty queue before its alarm", "{empty_minutes} min", f"{MINUTE * EMPTY_MINUTES:.0f} s"),
    ("metrics, one minute of an alarm", "{minute_seconds} s", f"{MINUTE:.0f} s"),
    ("launch deadline after warm-up", "{launch_grace_seconds} s", f"{TAGS['fleet:launch-grace-seconds']} s"),
    ("silence of a worker", "{silent_seconds} s", f"{TAGS['fleet:silent-seconds']} s"),
    ("look at a drain, its limit", "{drain_look_seconds} s, {drain_limit_seconds} s",
     f"{TAGS['fleet:drain-look-seconds']} s, {TAGS['fleet:drain-limit-seconds']} s"),
    ("Spot's notice", "120 s", f"{NOTICE_SECONDS:.0f} s"),
    ("  of which the last", "{end_margin_seconds} s", f"{TAGS['fleet:end-margin-seconds']} s"),
    ("time-out of the terminate hook", "150 s", f"{150 * SCALE.pace.hooks:g} s"),
    ("probe of a fleet whose launches fail", "{probe_seconds} s", f"{TAGS['fleet:probe-seconds']} s"),
    ("a job is given up with its worker", "{job_timeout_seconds} s", f"{TAGS['fleet:job-timeout-seconds']} s"),
    ("Lambda's retries of an event", *(", ".join(f"{d * by:g} s" for d in RETRY_DELAYS) for by in (1, SCALE.retries))),
    ("worker: boot, poll, heartbeat", "minutes, {poll_seconds} s, {heartbeat_seconds} s",
     f"{PACE.boot:g} s, {PACE.poll:g} s, {PACE.heartbeat:g} s"),
    ("worker: look for a notice, margin", "5 s, 10 s", f"{PACE.notice:g} s, {PACE.margin:g} s"),
    ("one job", "a minute or more", "2 to 7 s"),
    ("environments of functions", "cold if rarely used", "warm when the story begins"),
)  # fmt: skip


def show_scale() -> None:
    """The column "as deployed" is read from the template as it is now."""
    values = defaults()
    print("\nScaled through parameters, tags and inputs only; code and state machines are the deployed ones:")
    for what, deployed, here in SCALED:
        print(f"  {what:<37}{deployed.format_map(values):>19}  →  {here.format_map(values)}")
    print(flush=True)
