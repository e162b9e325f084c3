"""Fixtures of the videos room's tests."""

from tests.made_videos import folder, video  # noqa: F401
