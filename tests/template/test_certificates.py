"""Amazon's authorities for RDS, as they lie in the layer."""

import ssl
from datetime import UTC, datetime

from cryptography import x509

from .conftest import ROOT

BUNDLE = ROOT / "layers/dependencies/rds-ca-bundle.pem"


def test_the_drivers_tls_can_load_every_authority() -> None:
    context = ssl.create_default_context(cafile=str(BUNDLE))
    assert context.cert_store_stats()["x509_ca"] == BUNDLE.read_text().count("BEGIN CERTIFICATE")


def test_authorities_are_amazons_cover_the_regions_and_outlive_us() -> None:
    certificates = x509.load_pem_x509_certificates(BUNDLE.read_bytes())
    names = [certificate.subject.rfc4514_string() for certificate in certificates]
    assert all("Amazon RDS" in name for name in names)
    for region in ("us-east-1", "us-west-2", "eu-central-1", "eu-west-1", "ap-southeast-1"):
        assert any(region in name for name in names)
    assert all(certificate.not_valid_after_utc > datetime.now(UTC) for certificate in certificates)
