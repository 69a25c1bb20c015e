"""The metadata service of one instance, version 2 only: without a fresh token it says nothing."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from lab.site.answers import Answer, Question

PREFIX = "/latest/"
FORMAT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass
class FakeMetadata:
    """`ends_at` is announced once `warn` was called; nothing else of an instance's metadata is asked for here."""

    ends_at: datetime | None = None
    rebalance_at: datetime | None = None
    asked: int = 0
    _tokens: dict[str, float] = field(default_factory=dict)

    def warn(self, seconds: float) -> None:
        """EC2 announces whole seconds; the end is not before it says."""
        self.ends_at = datetime.now(UTC) + timedelta(seconds=seconds)

    def recommend_rebalance(self) -> None:
        self.rebalance_at = datetime.now(UTC)

    def forget_tokens(self) -> None:
        self._tokens.clear()

    def answer(self, question: Question) -> Answer:
        if question.method == "PUT" and question.path == f"{PREFIX}api/token":
            return self._new_token(question)
        if self._tokens.get(question.headers.get("X-aws-ec2-metadata-token", ""), 0.0) < time.monotonic():
            return Answer(401)
        self.asked += 1
        if question.path == f"{PREFIX}meta-data/spot/instance-action" and self.ends_at:
            return Answer(200, json.dumps({"action": "terminate", "time": self.ends_at.strftime(FORMAT)}).encode())
        if question.path == f"{PREFIX}meta-data/events/recommendations/rebalance" and self.rebalance_at:
            return Answer(200, json.dumps({"noticeTime": self.rebalance_at.strftime(FORMAT)}).encode())
        return Answer(404)

    def _new_token(self, question: Question) -> Answer:
        ttl = question.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if not ttl.isdigit() or not 0 < int(ttl) <= 21_600:
            return Answer(400)
        token = secrets.token_urlsafe(16)
        self._tokens[token] = time.monotonic() + int(ttl)
        return Answer(200, token.encode())
