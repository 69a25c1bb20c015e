"""Secrets that are recognised wherever they turn up, and the search for them in what a run left behind."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

SIGNED = "X-Amz-Signature"
"""Whoever holds an address with this part in it may answer for a custom resource."""

NOT_SEARCHED = ("mariadb/data", "mariadb/tls")
"""Where the secrets themselves live: the database's own files."""


def marked() -> str:
    """A secret that no other run has: 30 letters and digits."""
    return f"marked{secrets.token_hex(12)}"


def spellings(secret: str) -> list[bytes]:
    """The secret as it may turn up: plain, in a URL, in hexadecimal, and in Base64 wherever it starts in the text."""
    raw = secret.encode()
    encoded = [base64.b64encode(b"x" * shift + raw)[(shift + 2) * 4 // 3 : -4] for shift in range(3)]
    return [raw, quote(secret, safe="").encode(), raw.hex().encode(), *encoded]


def produced(run: Path) -> list[Path]:
    """Every file of a run but the database's data and keys."""
    own = [run / part for part in NOT_SEARCHED]
    files = [path for path in run.rglob("*") if path.is_file()]
    return sorted(path for path in files if not any(folder in path.parents for folder in own))


def holders(run: Path, known: Mapping[str, str]) -> dict[str, list[str]]:
    """The files in which each of `known` (secrets by what they are) is found."""
    forms = {what: spellings(secret) for what, secret in known.items()}
    found: dict[str, list[str]] = {what: [] for what in known}
    for path in produced(run):
        content = path.read_bytes()
        for what, wanted in forms.items():
            if any(form in content for form in wanted):
                found[what].append(str(path.relative_to(run)))
    return found


@dataclass(frozen=True)
class Search:
    """What to look for: secrets, each with the only files that may hold it; and what was planted, with the files that
    must hold it, or the search is blind."""

    secrets: Mapping[str, str]
    planted: str
    planted_in: Collection[str]
    allowed: Mapping[str, Collection[str]]

    def broken(self, run: Path) -> list[str]:
        """One sentence for each secret that is where it must not be, and for a search that sees nothing."""
        found = holders(run, {**self.secrets, "": self.planted})
        blind = sorted(set(self.planted_in) - set(found.pop("")))
        leaks = {what: sorted(set(files) - set(self.allowed.get(what, ()))) for what, files in found.items()}
        return [f"{what} found in {', '.join(files)}" for what, files in leaks.items() if files] + [
            f"the search for secrets is blind: what was planted is not found in {name}" for name in blind
        ]
