"""Video files to `tf.data` pipelines."""

from . import transforms
from .annotations import VideoList, read_folder, split_videos
from .clips import ClipSpec
from .decode import VideoInfo, decode_frames, probe_video
from .pipeline import clip_dataset

__all__ = [
    "ClipSpec",
    "VideoInfo",
    "VideoList",
    "clip_dataset",
    "decode_frames",
    "probe_video",
    "read_folder",
    "split_videos",
    "transforms",
]
