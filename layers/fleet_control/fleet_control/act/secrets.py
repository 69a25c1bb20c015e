"""Secrets Manager: JSON secrets, cached for a few minutes, never logged."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from fleet_control.errors import SecretUnreadable

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

MAX_AGE_SECONDS = 300


class DatabaseLogin(BaseModel):
    """Where a database user logs in. The secret holds more; the rest is not ours."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    host: str = Field(min_length=1)
    port: int = Field(default=3306, ge=1, le=65_535)
    username: str = Field(min_length=1)
    password: SecretStr


class Secrets:
    def __init__(self, client: SecretsManagerClient) -> None:
        self._client = client
        self._read: dict[str, tuple[float, str]] = {}

    def database_login(self, secret_id: str, *, fresh: bool = False) -> DatabaseLogin:
        """`fresh` goes past the cache, for a secret that has just been rotated. Raises SecretUnreadable."""
        try:
            return DatabaseLogin.model_validate(self._json(secret_id, fresh=fresh))
        except ValidationError as error:
            # Not chained: pydantic's text would carry the value.
            fields = ", ".join(str(fault["loc"][0]) for fault in error.errors(include_input=False) if fault["loc"])
            raise SecretUnreadable(f"secret {secret_id}: missing or wrong: {fields or 'not a JSON object'}") from None

    def _json(self, secret_id: str, *, fresh: bool) -> Any:
        try:
            return json.loads(self._text(secret_id, fresh=fresh))
        except ValueError:
            raise SecretUnreadable(f"secret {secret_id} is not JSON") from None

    def _text(self, secret_id: str, *, fresh: bool) -> str:
        read_at, text = self._read.get(secret_id, (-math.inf, ""))
        if fresh or time.monotonic() - read_at > MAX_AGE_SECONDS:
            try:
                text = str(self._client.get_secret_value(SecretId=secret_id).get("SecretString", ""))
            except (BotoCoreError, ClientError) as error:
                raise SecretUnreadable(f"secret {secret_id} cannot be read: {error}") from error
            self._read[secret_id] = time.monotonic(), text
        return text
