"""What holds for every test.

Hypothesis has no deadline, since a busy machine is no reason to fail; and in CI it draws the same examples every time.
There a skip is a failure, so that no test goes unnoticed that never runs.
A job in the background of a shell has Ctrl-C ignored, and so has whatever it starts: tests that send one would wait for
nothing.
"""

import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import settings

IN_CI = bool(os.environ.get("CI"))

settings.register_profile("unhurried", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if IN_CI else "unhurried")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What was skipped has failed in CI; what was expected to fail counts as skipped, and has not."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure in CI: {report.longreprtext}"
    return report
