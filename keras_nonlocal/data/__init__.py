"""From lists of videos to `tf.data` pipelines of clips."""

from keras_nonlocal import transforms
from keras_nonlocal.data.annotations import (
    read_charades,
    read_folder,
    read_hmdb51,
    read_kinetics,
    read_list,
    read_something_something,
    read_ucf101,
    read_videos,
)
from keras_nonlocal.data.clips import ClipSpec
from keras_nonlocal.data.pipeline import clip_dataset
from keras_nonlocal.data.record_lists import read_records
from keras_nonlocal.data.samplers import RandomClipSampler, TSNSampler, UniformClipSampler
from keras_nonlocal.lists.video_list import VideoList, split_videos
from keras_nonlocal.video.decode import VideoInfo
from keras_nonlocal.video.reading import decode_frames, open_video, probe_video

__all__ = [
    "ClipSpec",
    "UniformClipSampler",
    "RandomClipSampler",
    "TSNSampler",
    "VideoInfo",
    "VideoList",
    "clip_dataset",
    "decode_frames",
    "open_video",
    "probe_video",
    "read_charades",
    "read_folder",
    "read_hmdb51",
    "read_kinetics",
    "read_list",
    "read_records",
    "read_something_something",
    "read_ucf101",
    "read_videos",
    "split_videos",
    "transforms",
]
