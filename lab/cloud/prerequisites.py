"""What AWS brings before anything is deployed, and moto does not: the public parameter of an image."""

from __future__ import annotations

from datetime import UTC, datetime

from moto.ec2.models import ec2_backends
from moto.ssm.models import Parameter, ssm_backends

from lab.cloud.aws import Cloud
from lab.cloud.names import ACCOUNT, REGION

PUBLIC_IMAGE = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"


def publish_image(cloud: Cloud) -> str:
    """Past the API, which lets nobody put a parameter of AWS's own. Gives the image's id."""
    image = good_image(cloud)
    with cloud.lock:
        held = ssm_backends[ACCOUNT][REGION]._parameters[PUBLIC_IMAGE]
        held.append(
            Parameter(
                account_id=ACCOUNT,
                name=PUBLIC_IMAGE,
                value=image,
                parameter_type="String",
                description=None,
                allowed_pattern=None,
                keyid=None,
                last_modified_date=datetime.now(UTC),
                version=1,
                data_type="aws:ec2:image",
            )
        )
    return image


def ship_image(cloud: Cloud, stage: str, slug: str, *, broken: bool) -> None:
    cloud.client("ssm").put_parameter(
        Name=f"/bp/{stage}/ami/{slug}",
        Value=broken_image(cloud) if broken else good_image(cloud),
        Type="String",
        DataType="aws:ec2:image",
        Overwrite=True,
    )


def good_image(cloud: Cloud) -> str:
    return _images(cloud)[0]


def broken_image(cloud: Cloud) -> str:
    """The image on which no worker starts."""
    return _images(cloud)[1]


def _images(cloud: Cloud) -> tuple[str, str]:
    """(a good one, one on which no worker starts). Past the API, where the list takes a second."""
    with cloud.lock:
        known = ec2_backends[ACCOUNT][REGION].describe_images(owners=["amazon"])
    good, bad, *_ = [image.id for image in known if image.architecture == "x86_64"]
    return good, bad
