"""Video files to `tf.data` pipelines."""

from keras_nonlocal.data import transforms
from keras_nonlocal.data.annotations import VideoList, read_folder, split_videos
from keras_nonlocal.data.clips import ClipSpec
from keras_nonlocal.data.decode import VideoInfo, decode_frames, probe_video
from keras_nonlocal.data.pipeline import clip_dataset

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
