"""On CI a skipped test is a failure: what was not run has not been shown. The longest files come first."""

import os
from collections.abc import Generator

import pytest

LONGEST = ("tests/system/test_demo.py", "tests/privilege/", "tests/template/test_checkov.py", "tests/system/")
"""Minutes each. A file goes to one process as a whole: begun last, one would be waited for by all others."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(
        key=lambda item: next((n for n, path in enumerate(LONGEST) if item.nodeid.startswith(path)), len(LONGEST))
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, which counts as a failure on CI: {report.longrepr}"
    return report
