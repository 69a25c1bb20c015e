"""report.html"""

from pathlib import Path
from typing import Any

from lab.measures import Evidence


def write_report(path: Path, summary: dict[str, Any], evidence: Evidence, start: float, *, svg: Path | None) -> None:
    path.write_text("")
