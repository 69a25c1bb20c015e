"""Parameter Store: SecureStrings, which CloudFormation itself cannot create."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient


class Parameters:
    def __init__(self, client: SSMClient) -> None:
        self._client = client

    def put_secret_once(self, name: str, value: str) -> bool:
        """False when the parameter exists already, which then keeps its value: AWS decides, not a look before."""
        try:
            self._client.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=False)
        except self._client.exceptions.ParameterAlreadyExists:
            return False
        return True
