"""Fixtures of the data room's tests."""

from tests.made_videos import folder, video  # noqa: F401
