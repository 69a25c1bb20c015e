"""An AWS read that failed, as the hold it means."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError

from fleet_control.errors import Blind


def blind(call: str, error: BotoCoreError | ClientError) -> Blind:
    """`call` is the IAM action, so that an operator can look for the missing permission or the outage."""
    code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else type(error).__name__
    return Blind(f"{call} failed ({code}): capacity is left as it is until it answers")
