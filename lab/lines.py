"""One plain line for each thing that happens, made of a journal entry, a log record or a worker's word. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Entry = Mapping[str, Any]
ERROR_LENGTH = 110


@dataclass(frozen=True)
class Line:
    """`tone` is what a reader should feel: scene, plain, decision, good, bad or quiet."""

    tone: str
    text: str


def line(entry: Entry) -> Line | None:
    """None for what an onlooker need not see."""
    if entry.get("message") == "decision":
        return _decision(entry)
    if "worker_id" in entry and "kind" not in entry:
        return _worker(entry)
    describe = _KINDS.get(str(entry.get("kind")))
    return describe(entry) if describe else None


def when(entry: Entry) -> float:
    """Unix seconds of a journal entry or a log record; 0 when it does not say."""
    if "t" in entry:
        return float(entry["t"])
    try:
        return datetime.fromisoformat(str(entry["timestamp"])).timestamp()
    except (KeyError, ValueError):
        return 0.0


def short(instance: object) -> str:
    """An instance by the end of its id, enough to follow it by eye."""
    text = str(instance)
    return f"i-…{text[-5:]}" if text.startswith("i-") and len(text) > 8 else text


def fleet(group: object) -> str:
    """`asg-staging-face-swap` → `face-swap`; anything else as it is."""
    parts = str(group).split("-", 2)
    return parts[2] if parts[0] == "asg" and len(parts) == 3 else str(group)


def _decision(entry: Entry) -> Line | None:
    if _mere_notice(entry) or not entry.get("reason"):
        return None
    details = [fleet(entry.get("fleet", "?"))] if entry.get("fleet") not in (None, "*") else []
    if entry.get("instance_id"):
        details.append(short(entry["instance_id"]))
    action = f"desired → {entry['set_desired']}" if entry.get("set_desired") is not None else ""
    if entry.get("scale_in"):
        action = f"drain {short(entry['scale_in'])}"
    rule = str(entry.get("outcome") or entry.get("next") or "")
    head = " ".join(part for part in (" ".join(details), str(entry.get("rule", "")), rule) if part)
    return Line("decision", f"{head}{': ' + action if action else ''} — {entry.get('reason', '')}")


def _mere_notice(entry: Entry) -> bool:
    """EC2 tells of every end of every instance, those that the control plane asked for too."""
    ended = entry.get("rule") in ("spot terminated", "spot shutting-down")
    return ended and not entry.get("requeued")


def _instance(entry: Entry) -> Line:
    state, name = entry["state"], f"{short(entry['id'])} of {fleet(entry['group'])}"
    if state == "warned":
        return Line("bad", f"{name}: Spot interruption warning")
    if state == "recommended":
        return Line("bad", f"{name}: EC2 recommends to replace it")
    if state == "terminating":
        cause = str(entry.get("cause", ""))
        return Line("bad" if "without warning" in cause else "plain", f"{name} goes down: {_cause(cause)}")
    return Line("quiet", f"{name} is {state.replace('_', ' ')}")


CAUSES = {
    "user request": "terminated by name",
    "spot interruption": "Spot took it",
    "without warning": "gone without warning",
    "shrinking the capacity": "no longer wanted",
    "health check": "found dead",
}


def _cause(cause: str) -> str:
    return next((plain for part, plain in CAUSES.items() if part in cause), cause)


def _worker(entry: Entry) -> Line | None:
    name, event = short(entry["worker_id"]), str(entry.get("event"))
    words = {
        "registered": Line("good", f"{name} registered: ready for work"),
        "fenced": Line("plain", f"{name} is told that job {entry.get('dispatch_id')} is no longer its own"),
        "spot_notice": Line("plain", f"{name} reads of its end in {entry.get('seconds')} s"),
        "deregistered": Line("quiet", f"{name} deregistered"),
        "broken": Line("bad", f"{name} is broken: {entry.get('error')}"),
        "gave_up": Line("bad", f"{name} gave up: {entry.get('error')}"),
    }
    return words.get(event)


def _burst(entry: Entry) -> Line:
    jobs = f"{entry['jobs']} jobs" if entry["jobs"] > 1 else "1 job"
    nudge = "JobQueued sent" if entry["nudged"] else "no nudge"
    return Line("good", f"{jobs} for {entry['workflow']} from {entry['tenant']} ({entry['name']}, {nudge})")


def _alarm(entry: Entry) -> Line | None:
    if entry["to"] == "ALARM":
        return Line("plain", f"alarm {entry['name']} rings")
    if entry["from"] == "ALARM" and entry["to"] == "OK":
        return Line("quiet", f"alarm {entry['name']} is over")
    return None


def _job(entry: Entry) -> Line | None:
    if entry.get("burst") != "late job":
        return None
    return Line("good", f"job {entry['dispatch_id']} for {entry['workflow']} arrives at the last moment")


def _failed(entry: Entry) -> Line | None:
    return Line("bad", f"{entry.get('function')} failed: {_error(entry['error'])}") if entry.get("error") else None


def _gave_up(entry: Entry) -> Line:
    return Line("bad", f"{entry.get('function')} gave an event up: {_error(entry.get('error'))}")


def _error(error: object) -> str:
    """A Lambda error is an object with type, message and trace; one line of it is enough here."""
    if isinstance(error, Mapping):
        error = f"{error.get('errorType')}: {error.get('errorMessage')}"
    text = " ".join(str(error).split())
    return text if len(text) <= ERROR_LENGTH else text[: ERROR_LENGTH - 1] + "…"


def _database(entry: Entry) -> Line:
    away = entry["state"] == "away"
    return Line("bad" if away else "good", "the database is away" if away else "the database is back")


def _admin(entry: Entry) -> Line:
    what = "drains {} by hand" if entry["action"] == "drain" else "gives {} back"
    return Line("plain", f"an administrator {what.format(short(entry['id']))}")


def _refused(entry: Entry) -> Line:
    return Line("bad", f"AWS refuses a launch of {fleet(entry['group'])}: {_error(entry['message'])}")


def _backend(entry: Entry) -> Line:
    away = entry["state"] == "away"
    return Line("bad" if away else "good", f"the backend {'answers no worker' if away else 'answers again'}")


def _image(entry: Entry) -> Line:
    broken = entry["state"] == "broken"
    what = "a broken image is" if broken else "a good image is again"
    return Line("bad" if broken else "good", f"{what} launched for {fleet(entry['group'])}")


def _market(entry: Entry) -> Line:
    dry = entry["state"] == "dry"
    what = f"no launch of {fleet(entry['group'])} succeeds" if dry else f"{fleet(entry['group'])} may launch again"
    return Line("bad" if dry else "good", what)


_KINDS: dict[str, Callable[[Entry], Line | None]] = {
    "scene": lambda entry: Line("scene", str(entry["title"])),
    "burst": _burst,
    "job": _job,
    "instance": _instance,
    "alarm": _alarm,
    "database": _database,
    "admin": _admin,
    "launch_failed": _refused,
    "backend": _backend,
    "image": _image,
    "market": _market,
    "invocation": _failed,
    "dead_letter": _gave_up,
}
