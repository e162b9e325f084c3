"""Fixtures of the evaluation room's tests."""

from tests.made_videos import folder  # noqa: F401
