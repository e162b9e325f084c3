"""Folders of videos: class folders, and videos found by their names in a tree of folders.

A video is a file that ends in one of `VIDEO_SUFFIXES`, or a folder of its frames as pictures.
Folders may be URLs that fsspec opens, such as `gs://bucket/videos`.
"""

import logging
import os
import re

import fsspec
import numpy as np

from keras_nonlocal.lists.classes import parse_class_names
from keras_nonlocal.lists.tables import is_url
from keras_nonlocal.lists.video_list import VideoList

# Of containers that FFmpeg opens.
VIDEO_SUFFIXES = frozenset(
    ".3g2 .3gp .amv .asf .avi .divx .dv .f4v .flv .gif .ivf .m1v .m2t .m2ts .m2v .m4v .mj2 .mjpeg "
    ".mjpg .mkv .mov .mp4 .mpe .mpeg .mpg .mpv .mts .mxf .nut .ogm .ogv .ogx .qt .rm .rmvb .ts "
    ".vob .webm .wmv .wtv .xvid .y4m".split()
)
_IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png")
_PARTS = frozenset("train training val valid validation test testing".split())
_LOGGER = logging.getLogger("keras_nonlocal")


def read_folder(directory, class_names=None, labels="inferred"):
    """Lists the videos in a folder of class folders.

    Files that are passed over are counted in a warning, by their ending, and listed in
    `VideoList.skipped`: files without a video's ending, links to nowhere, and videos beside the
    class folders.

    Args:
        directory: folder or URL that holds one folder per class with videos in it or in folders
            below it. A folder of pictures, without video files in it or below it, is one video,
            each picture a frame; the class folders themselves never are. Names that begin with a
            dot are ignored.
        class_names: names of the classes in the order of their numbers, or a file of them: see
            `read_list`. Pass `training.class_names` for the folder of validation videos, in which
            classes may be empty or missing. `None`: the folders in alphabetical order.
        labels: `"inferred"` from the class folders; `None` lists all videos in the folder and
            below it, without labels.

    Returns:
        A `VideoList`, classes and files in alphabetical order.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it holds no videos in class folders, a class folder is empty or none of
            `class_names`, or the class folders lie in folders such as `train` and `val`.

    Example:

    ```python
    training = read_folder("train")  # train/jump/*.mp4, train/run/*.mp4
    training.class_names  # ("jump", "run")
    validation = read_folder("val", class_names=training.class_names)
    ```
    """
    directory = os.fspath(directory)
    if not is_folder(directory):
        raise FileNotFoundError(
            f"`directory` must be a folder of class folders. Received: {directory!r}, which is "
            "not a folder. Pass the folder above the class folders: `videos` of videos/run/1.mp4."
        )
    skipped = {}
    if labels is None and class_names is not None:
        raise ValueError(
            '`class_names` goes with labels="inferred". '
            f"Received: labels=None, class_names={class_names!r}."
        )
    if labels is None:
        paths = _list_videos(directory, skipped)
        if not paths:
            raise ValueError(f"{directory!r} must hold videos. Received: none{_account(skipped)}.")
        _report(directory, skipped)
        return VideoList(paths, skipped=skipped)
    if labels != "inferred":
        raise ValueError(f'`labels` must be "inferred" or None. Received: labels={labels!r}.')
    folders, files, _ = list_entries(directory)
    beside = [join(directory, file) for file in files if is_video_file(file)]
    if beside:
        skipped["video beside the class folders"] = beside
    found = {name: _list_videos(join(directory, name), skipped) for name in sorted(folders)}
    names = parse_class_names(class_names)
    if names is None:
        _refuse_parts(directory, found)
        names = tuple(found)
        empty = [name for name, paths in found.items() if not paths]
        if empty or not names:
            what = f"none in {', '.join(map(repr, empty))}" if empty else "no class folders"
            raise ValueError(
                f"Each class folder in {directory!r} must hold videos (.mp4, .mkv, ...), or "
                f"folders of frames ({', '.join(_IMAGE_SUFFIXES)}). Received: "
                f"{what}{_account(skipped)}. Put the videos of a class into a folder of its name, "
                "and remove empty folders, or pass the classes as `class_names`."
            )
    found = {name: paths for name, paths in found.items() if paths}
    strange = [name for name in found if name not in names]
    if strange or not found:
        what = f"the class folders {', '.join(map(repr, strange[:3]))}" if strange else "no videos"
        raise ValueError(
            f"The class folders in {directory!r} must be among `class_names`, {len(names)} classes "
            f"such as {', '.join(map(repr, names[:3]))}. Received: {what}{_account(skipped)}. "
            "Rename or remove these folders, or pass `class_names` that hold the classes of both "
            "training and validation to both."
        )
    _report(directory, skipped)
    order = [name for name in names if name in found]
    numbers = np.repeat([names.index(name) for name in order], [len(found[n]) for n in order])
    paths = [path for name in order for path in found[name]]
    return VideoList(paths, numbers, names, skipped=skipped)


def find_videos(folder, names):
    """Finds videos by their names in a folder and all below it, each folder listed once.

    Args:
        folder: path or URL of the folder.
        names: names of the video files, without suffix, or of the folders of frames.

    Returns:
        A dict from the names that were found to lists of paths.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    folder, names = os.fspath(folder), set(names)
    if not is_folder(folder):
        raise FileNotFoundError(
            f"`videos` must be the folder that holds the videos. Received: {folder!r}, which is "
            "not a folder."
        )
    found, waiting, visited = {}, [folder], set()
    while waiting:
        folder = waiting.pop()
        if not _is_first_visit(folder, visited):
            continue
        folders, files, _ = list_entries(folder)
        for name in folders:
            # A folder of frames is not looked into: together they hold many millions of files.
            if name in names:
                found.setdefault(name, []).append(join(folder, name))
            else:
                waiting.append(join(folder, name))
        for file in files:
            name = os.path.splitext(file)[0]
            if name in names and is_video_file(file):
                found.setdefault(name, []).append(join(folder, file))
    return found


def choose_video(found, names, class_name=None):
    """Returns the path of a video among those that were found, or `None`.

    Args:
        found: what `find_videos` returns.
        names: names that the video may have, the best first.
        class_name: chooses the file in the folder of the class among several of one name.
    """
    paths = next((found[name] for name in names if name in found), [])
    if len(paths) > 1 and class_name is not None:
        # Kinetics' classes have spaces; many tools write underscores in names of folders.
        folder = class_name.replace(" ", "_")
        inside = [path for path in paths if _parts(path)[-2].replace(" ", "_") == folder]
        paths = inside or paths
    if len(paths) > 1:
        raise ValueError(
            "A video must lie in one place. Received: "
            f"{' and '.join(map(repr, sorted(paths)[:2]))}. Give a folder that holds one of them."
        )
    return paths[0] if paths else None


def list_entries(folder):
    """Returns the names of the folders, of the files and of links to nowhere, hidden ones not."""
    folders, files, broken = [], [], []
    if is_url(folder):
        system, own = fsspec.url_to_fs(folder)
        for entry in system.ls(own, detail=True):
            # Object stores list a folder's own placeholder, too.
            if entry["name"].rstrip("/") != own.rstrip("/"):
                name = entry["name"].rstrip("/").rpartition("/")[2]
                (folders if entry["type"] == "directory" else files).append(name)
    else:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    if entry.is_dir():
                        folders.append(entry.name)
                    elif entry.is_file():
                        files.append(entry.name)
                    elif entry.is_symlink():
                        broken.append(entry.name)
                except OSError:  # a link that leads to itself
                    broken.append(entry.name)
    return tuple([n for n in names if n[0] != "."] for names in (folders, files, broken))


def is_video_file(path):
    """Returns whether a path ends like that of a video file."""
    return os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES


def is_folder(path):
    """Returns whether a path or URL is a folder."""
    if is_url(path):
        system, path = fsspec.url_to_fs(path)
        return system.isdir(path)
    return os.path.isdir(path)


def join(folder, name):
    """Returns the path or URL of a name in a folder."""
    if is_url(name) or not is_url(folder):
        return name if is_url(name) else os.path.join(folder, name)
    return f"{folder}{name}" if folder.endswith("/") else f"{folder}/{name}"


def _list_videos(folder, skipped):
    """Returns the videos of a class in alphabetical order."""
    files, frame_folders = _walk(folder, set(), skipped, top=True)
    return sorted(files + frame_folders, key=_parts)


def _walk(folder, visited, skipped, top=False):
    """Returns the video files and the folders of frames in a folder and all below it."""
    if not _is_first_visit(folder, visited):
        skipped.setdefault("link to a folder that is read already", []).append(folder)
        return [], []
    folders, files, broken = list_entries(folder)
    if broken:
        paths = [join(folder, name) for name in broken]
        skipped.setdefault("link that leads nowhere", []).extend(paths)
    videos = [join(folder, file) for file in files if is_video_file(file)]
    frame_folders = []
    for name in folders:
        below = _walk(join(folder, name), visited, skipped)
        videos += below[0]
        frame_folders += below[1]
    # Pictures beside videos are thumbnails.
    endings = [os.path.splitext(file)[1].lower() for file in files]
    is_video = not top and not videos and not set(endings).isdisjoint(_IMAGE_SUFFIXES)
    for file, ending in zip(files, endings, strict=True):
        if ending not in VIDEO_SUFFIXES and not (is_video and ending in _IMAGE_SUFFIXES):
            skipped.setdefault(ending or "no ending", []).append(join(folder, file))
    return ([], [folder]) if is_video else (videos, frame_folders)


def _is_first_visit(folder, visited):
    """Links are followed; one that leads back to a folder above would never end."""
    key = folder
    if not is_url(folder):
        status = os.stat(folder)
        key = status.st_dev, status.st_ino
    known = key in visited
    visited.add(key)
    return not known


def _refuse_parts(directory, found):
    """Raises if the folders are those of training and validation, with class folders in them."""
    parts = {}
    for name, paths in found.items():
        depth = len(_parts(join(directory, name)))
        if name.lower() in _PARTS and paths and all(len(_parts(p)) > depth + 1 for p in paths):
            parts[name] = join(directory, name)
    if len(parts) > 1 or (parts and len(parts) == len([p for p in found.values() if p])):
        first, last = list(parts.values())[0], list(parts.values())[-1]
        raise ValueError(
            f"`directory` must be a folder of class folders. Received: {directory!r}, with class "
            f"folders in {' and '.join(map(repr, parts))}. Read each by itself, with one numbering "
            f"of the classes: training = read_folder({first!r}), validation = read_folder("
            f"{last!r}, class_names=training.class_names). If these are classes, pass them as "
            "`class_names`."
        )


def _parts(path):
    return re.split(r"[/\\]", path)


def _account(skipped):
    """Returns what was passed over, in words; empty if nothing was."""
    parts = [
        f"{len(paths):,} x {reason} ({', '.join(map(repr, paths[:2]))}{', ...' * (len(paths) > 2)})"
        for reason, paths in sorted(skipped.items())
    ]
    return f"; passed over: {', '.join(parts)}" if parts else ""


def _report(directory, skipped):
    if skipped:
        _LOGGER.warning("%r is read without some files%s.", directory, _account(skipped))
