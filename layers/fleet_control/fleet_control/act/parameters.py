"""Parameter Store: what is put once. CloudFormation itself can create no SecureString, and puts old values back."""

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

    def put_image_once(self, name: str, image_id: str) -> bool:
        """Like `put_secret_once`. AWS looks for the image after it has answered: until then there is no parameter."""
        try:
            self._client.put_parameter(
                Name=name, Value=image_id, Type="String", DataType="aws:ec2:image", Overwrite=False
            )
        except self._client.exceptions.ParameterAlreadyExists:
            return False
        return True

    def exists(self, name: str) -> bool:
        try:
            self._client.get_parameter(Name=name)
        except self._client.exceptions.ParameterNotFound:
            return False
        return True
