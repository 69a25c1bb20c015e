"""What an onlooker reads of each thing that befalls a fleet."""

from typing import Any

import pytest

from lab.lines import Line, line

GROUP = "asg-staging-face-swap"
SHRUNK = (
    "At noon instance i-0123456789abcdef0 was taken out of service in response to a difference between desired and "
)
SHRUNK += "actual capacity, shrinking the capacity from 3 to 2."


@pytest.mark.parametrize(
    ("entry", "tone", "text"),
    [
        (
            {"kind": "instance", "id": "i-0123456789abcdef0", "group": GROUP, "state": "recommended"},
            "bad",
            "i-…cdef0 of face-swap: EC2 recommends to replace it",
        ),
        (
            {"kind": "instance", "id": "i-0123456789abcdef0", "group": GROUP, "state": "terminating", "cause": SHRUNK},
            "plain",
            "i-…cdef0 of face-swap goes down: no longer wanted",
        ),
        (
            {"kind": "launch_failed", "group": GROUP, "message": "Could not launch Spot Instances."},
            "bad",
            "AWS refuses a launch of face-swap: Could not launch Spot Instances.",
        ),
        ({"kind": "market", "group": GROUP, "state": "dry", "code": "x"}, "bad", "no launch of face-swap succeeds"),
        ({"kind": "market", "group": GROUP, "state": "open"}, "good", "face-swap may launch again"),
        ({"kind": "image", "group": GROUP, "state": "broken"}, "bad", "a broken image is launched for face-swap"),
        ({"kind": "image", "group": GROUP, "state": "good"}, "good", "a good image is again launched for face-swap"),
        ({"kind": "backend", "state": "away"}, "bad", "the backend answers no worker"),
        ({"kind": "backend", "state": "back"}, "good", "the backend answers again"),
    ],
)
def test_a_line_is_plain(entry: dict[str, Any], tone: str, text: str) -> None:
    assert line(entry) == Line(tone, text)
