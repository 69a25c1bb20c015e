"""Types that moto's CloudFormation does not know but others refer to: made here, as little of each as is referred to.

A stand-in has a name and attributes, so that what refers to it resolves. Secrets are real, in moto's Secrets Manager.
"""

from __future__ import annotations

import json
import secrets
import string
from typing import Any

from moto.core.common_models import CloudFormationModel
from moto.secretsmanager.models import secretsmanager_backends

from lab.cloud.names import ACCOUNT, REGION

Properties = dict[str, Any]

CHARACTERS = string.ascii_letters + string.digits

LAYER = "Lab::Lambda::LayerVersion"
"""Not AWS's own type, which moto knows, and of which it wants the archive."""

STAND_INS: dict[str, tuple[str, dict[str, str]]] = {
    "AWS::ApplicationAutoScaling::ScalableTarget": ("ResourceId", {}),
    "AWS::CloudFront::Distribution": ("", {"DomainName": "d111111abcdef8.cloudfront.net"}),
    "AWS::CloudFront::OriginAccessControl": ("", {}),
    "AWS::ElastiCache::ReplicationGroup": (
        "ReplicationGroupId",
        {"PrimaryEndPoint.Address": "master.lab.cache.amazonaws.com", "PrimaryEndPoint.Port": "6379"},
    ),
    "AWS::ElastiCache::SubnetGroup": ("CacheSubnetGroupName", {}),
    LAYER: ("", {}),
}
"""By type: the property that is its name, and what its attributes are."""


class _Stand:
    """What CloudFormation asks of any resource."""

    name_property = ""
    attributes: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, physical_id: str) -> None:
        self.physical_resource_id = physical_id

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Properties, *_: Any, **__: Any
    ) -> _Stand:
        return cls(cloudformation_json.get("Properties", {}).get(cls.name_property) or resource_name)

    @classmethod
    def has_cfn_attr(cls, *_: str) -> bool:
        return True

    def get_cfn_attribute(self, attribute: str) -> str:
        return self.attributes.get(attribute, f"{self.physical_resource_id}.{attribute}")

    def is_created(self) -> bool:
        return True


def _model(kind: str, base: type[_Stand], name_property: str, attributes: dict[str, str]) -> type:
    """moto finds its models as the direct subclasses of CloudFormationModel."""
    members = {
        "name_property": name_property,
        "attributes": attributes,
        "cloudformation_type": staticmethod(lambda: kind),
        "cloudformation_name_type": staticmethod(lambda: ""),
    }
    return type(f"Lab{kind.replace('::', '')}", (base, CloudFormationModel), members)


class _Secret(_Stand):
    """A secret with a generated value; `Ref` is its ARN."""

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,  # noqa: ARG003
        cloudformation_json: Properties,
        *_: Any,
        **__: Any,
    ) -> _Stand:
        properties = cloudformation_json["Properties"]
        made = secretsmanager_backends[ACCOUNT][REGION].create_secret(
            name=properties["Name"],
            secret_string=_generated(properties["GenerateSecretString"]),
            secret_binary=None,
            description=properties.get("Description"),
            tags=None,
            kms_key_id=None,
            client_request_token=None,
            replica_regions=[],
            force_overwrite=False,
        )
        return cls(json.loads(made)["ARN"])


def _generated(rules: Properties) -> str:
    """The value of a secret by the rules of GenerateSecretString."""
    password = "".join(secrets.choice(CHARACTERS) for _ in range(rules.get("PasswordLength", 32)))
    if "SecretStringTemplate" not in rules:
        return password
    return json.dumps(json.loads(rules["SecretStringTemplate"]) | {rules["GenerateStringKey"]: password})


MODELS: list[Any] = [_model(kind, _Stand, name, attributes) for kind, (name, attributes) in STAND_INS.items()]
MODELS.append(_model("AWS::SecretsManager::Secret", _Secret, "", {}))
