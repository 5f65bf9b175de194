"""Hypothesis without a deadline: a busy machine is no reason for a property to fail."""

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
