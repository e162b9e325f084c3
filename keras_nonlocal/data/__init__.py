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
from keras_nonlocal.data.loader import ClipLoader, evaluation_clips, training_clips
from keras_nonlocal.data.record_lists import read_records
from keras_nonlocal.data.samplers import EvenClips, RandomClips, Segments
from keras_nonlocal.data.source import ClipSource
from keras_nonlocal.lists.video_list import VideoList, split_videos
from keras_nonlocal.video.decode import VideoInfo
from keras_nonlocal.video.reading import decode_frames, open_video, probe_video

__all__ = [
    "ClipLoader",
    "ClipSource",
    "ClipSpec",
    "EvenClips",
    "RandomClips",
    "Segments",
    "VideoInfo",
    "VideoList",
    "decode_frames",
    "evaluation_clips",
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
    "training_clips",
    "transforms",
]
