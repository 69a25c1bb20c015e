"""The decision log as rows of the report: when, whose, which rule, why, and the numbers on demand."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from lab.lines import fleet, short, when

Entry = Mapping[str, Any]
ACTS = ("set_desired", "undrain", "scale_in", "restart", "started", "requeued")
TOLD = frozenset({"fleet", "rule", "reason", "numbers", "function", "timestamp", "message", "instance_id"})
ENVELOPE = frozenset(
    {"level", "location", "service", "cold_start", "correlation_id", "xray_trace_id", "sampling_rate", "t"}
)


def rules(decisions: Iterable[Entry]) -> list[str]:
    return sorted({str(entry.get("rule", "")) for entry in decisions})


def decision_rows(decisions: Sequence[Entry], start: float) -> list[str]:
    """One <li> per decision, oldest first; `data-repeat` marks those that only say again what was said before."""
    last: dict[tuple[str, str], tuple[str, str]] = {}
    rows = []
    for entry in decisions:
        subject = (str(entry.get("fleet")), str(entry.get("instance_id", "")))
        content = (str(entry.get("rule")), str(entry.get("reason")))
        rows.append(_row(entry, start, repeats=last.get(subject) == content))
        last[subject] = content
    return rows


def _row(entry: Entry, start: float, *, repeats: bool) -> str:
    slug, rule = fleet(entry.get("fleet") or "*"), str(entry.get("rule", ""))
    acts = ' class="acts"' if any(entry.get(name) not in (None, [], "") for name in ACTS) else ""
    return (
        f'<li{acts} data-fleet="{escape(slug)}" data-rule="{escape(rule)}"{" data-repeat=1" if repeats else ""}>'
        f'<time>{max(0.0, when(entry) - start):.1f} s</time><span class="of">{_about(entry, slug)}</span>'
        f'<span class="rule">{escape(rule)}</span>'
        f"<details><summary>{escape(_reason(entry))}</summary><p>{escape(_numbers(entry))}</p></details></li>"
    )


def _about(entry: Entry, slug: str) -> str:
    instance = f"<span>{escape(short(entry['instance_id']))}</span>" if entry.get("instance_id") else ""
    if slug == "*":
        return instance or "all fleets"
    return f"{escape(slug)} {instance}".strip()


def _reason(entry: Entry) -> str:
    """The sentence of a decision; its fields where it has none."""
    if not entry.get("reason"):
        return _numbers(entry)
    outcome = entry.get("outcome") or entry.get("next")
    lead = f"desired → {entry['set_desired']}: " if entry.get("set_desired") is not None else ""
    return f"{lead}{f'{outcome}: ' if outcome else ''}{entry.get('reason', '')}"


def _numbers(entry: Entry) -> str:
    fields: dict[str, object] = dict(entry.get("numbers") or {})
    for name, value in entry.items():
        envelope = name in TOLD or name in ENVELOPE or name.startswith("function_")
        if not envelope and value not in (None, [], ""):
            fields[name] = ", ".join(map(str, value)) if isinstance(value, list) else value
    if entry.get("instance_id"):
        fields["instance"] = entry["instance_id"]
    return " · ".join(
        [f"{name.replace('_', ' ')} {value}" for name, value in fields.items()] + [str(entry["function"])]
    )
