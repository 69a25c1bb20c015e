"""The fleet's registration secret: random, put once, never overwritten, never shown, kept at the end."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Protocol

from fleet_control.messages.cloudformation import CustomResourceRequest, FleetSecret, parse_properties
from fleet_control.telemetry import Recorder


class SecretStore(Protocol):
    def put_secret_once(self, name: str, value: str) -> bool: ...


def random_secret() -> str:
    """48 random bytes in 64 characters that need no quoting in a shell, a header or an env file."""
    return secrets.token_urlsafe(48)


def bring_up(
    request: CustomResourceRequest, store: SecretStore, recorder: Recorder, generate: Callable[[], str] = random_secret
) -> dict[str, str]:
    """Gives the parameter's name, never its value."""
    name = parse_properties(FleetSecret, request).parameter_name
    put = store.put_secret_once(name, generate())
    recorder.decision(rule="fleet_secret", parameter=name, reason="put now" if put else "was there already")
    return {"ParameterName": name}
