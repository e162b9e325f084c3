"""From lists of videos to clips: random access, and `tf.data` pipelines."""

import importlib

# Imported at their first use: of these, loaders and transforms alone need TensorFlow.
_NAMES = {
    "data.annotations": (
        "read_charades read_folder read_hmdb51 read_kinetics read_list read_records "
        "read_something_something read_ucf101 read_videos"
    ),
    "data.clips": "ClipSpec",
    "data.datasets": "evaluation_clips training_clips video_dataset_from_directory",
    "data.loader": "ClipLoader",
    "data.samplers": "RandomClipSampler TSNSampler UniformClipSampler",
    "data.source": "ClipSource",
    "lists.video_list": "VideoList split_videos",
    "video.info": "VideoInfo",
    "video.open": "decode_frames open_video probe_video",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted([*_MODULES, "transforms"])


def __getattr__(name):
    if name == "transforms":
        return importlib.import_module("keras_nonlocal.transforms")
    if name in _MODULES:
        return getattr(importlib.import_module(f"keras_nonlocal.{_MODULES[name]}"), name)
    if f"data.{name}" in _NAMES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__
