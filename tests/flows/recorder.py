"""Where flows tell what they decided, kept for the tests to read."""

from typing import Any


class FakeRecorder:
    def __init__(self) -> None:
        self.decisions: list[dict[str, Any]] = []
        self.failures: list[Exception] = []

    def decision(self, **fields: object) -> None:
        self.decisions.append(fields)

    def failure(self, error: Exception, **fields: object) -> None:
        self.failures.append(error)
