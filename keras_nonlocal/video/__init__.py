"""Frames of videos: from video files, folders of pictures and records."""
