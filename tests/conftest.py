"""Hypothesis without a deadline, since a busy machine is no reason to fail; and in CI the same examples every time."""

import os

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "unhurried")
