"""Where videos lie: folders of class folders, and videos by their names in a tree of folders.

A video is a file of one of `VIDEO_SUFFIXES`, or a folder of its frames as pictures.
"""

import os

import numpy as np

from keras_nonlocal.lists.video_list import VideoList

VIDEO_SUFFIXES = tuple(".3gp .avi .flv .m4v .mkv .mov .mp4 .mpeg .mpg .ts .webm .wmv".split())
_IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png")


def read_folder(directory):
    """Lists the videos in a folder of class folders.

    Args:
        directory: folder that holds one folder a class, named like it, with videos in it or in
            folders below it. A folder of pictures, with no video files in it or below it, is one
            video, each picture a frame of it; the class folders themselves never are. Names that
            begin with a dot are passed over.

    Returns:
        A `VideoList`, classes and files in alphabetical order.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it holds no videos in class folders, or a class folder holds none.

    Example:

    ```python
    videos = read_folder("videos")  # videos/jump/*.mp4, videos/run/*.mp4
    videos.class_names  # ("jump", "run")
    ```
    """
    directory = os.fspath(directory)
    if not os.path.isdir(directory):
        raise FileNotFoundError(
            f"`directory` must be a folder of class folders. Received: {directory!r}, which "
            "is no folder. Give the folder above videos/run/1.mp4's class folder: `videos`."
        )
    classes = sorted(list_entries(directory)[0])
    found = []
    for name in classes:
        files, frame_folders = _list_videos(os.path.join(directory, name), set(), top=True)
        found.append(sorted(files + frame_folders, key=lambda path: path.split(os.sep)))
    empty = [name for name, paths in zip(classes, found, strict=True) if not paths]
    if empty or not classes:
        raise ValueError(
            f"Each class folder in {directory!r} must hold videos "
            f"({', '.join(VIDEO_SUFFIXES)}), or folders of frames "
            f"({', '.join(_IMAGE_SUFFIXES)}). Received: {_describe(empty)}. "
            "Remove the empty ones, and put the videos of a class into a folder of its name."
        )
    labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in found])
    return VideoList([path for paths in found for path in paths], labels, classes)


def find_videos(folder, names):
    """Finds videos by their names in a folder and all below it, which is gone through once.

    Args:
        folder: path of the folder.
        names: what the files of the videos (without suffix) or their folders of frames are called.

    Returns:
        A dict from the names that were found to lists of paths.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    folder, names = os.fspath(folder), set(names)
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f"`videos` must be the folder that holds the videos. Received: {folder!r}, which is no "
            "folder."
        )
    found, waiting, visited = {}, [folder], set()
    while waiting:
        folder = waiting.pop()
        if not _is_first_visit(folder, visited):
            continue
        folders, files = list_entries(folder)
        for name in folders:
            # A folder of frames is not looked into: together they hold many millions of files.
            if name in names:
                found.setdefault(name, []).append(os.path.join(folder, name))
            else:
                waiting.append(os.path.join(folder, name))
        for file in files:
            name, suffix = os.path.splitext(file)
            if name in names and suffix.lower() in VIDEO_SUFFIXES:
                found.setdefault(name, []).append(os.path.join(folder, file))
    return found


def choose_video(found, names, class_name=None):
    """The path of a video among those that were found, or `None`.

    Args:
        found: what `find_videos` gives.
        names: what the video may be called, the best first.
        class_name: chooses among several of one name that in the folder of the class.
    """
    paths = next((found[name] for name in names if name in found), [])
    if len(paths) > 1 and class_name is not None:
        # Kinetics' classes have spaces, and many tools write others in names of folders.
        folder = class_name.replace(" ", "_")
        inside = [
            p for p in paths if os.path.basename(os.path.dirname(p)).replace(" ", "_") == folder
        ]
        paths = inside or paths
    if len(paths) > 1:
        raise ValueError(
            "A video must lie in one place. Received: "
            f"{' and '.join(map(repr, sorted(paths)[:2]))}. Give a folder that holds one of them."
        )
    return paths[0] if paths else None


def list_entries(folder):
    """The names of the folders and those of the files in a folder, but for hidden ones."""
    folders, files = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders.append(entry.name)
            elif entry.is_file():
                files.append(entry.name)
    return folders, files


def is_video_file(path):
    """Whether a path is called like a video file."""
    return os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES


def _list_videos(folder, visited, top=False):
    """The video files and the folders of frames in a folder and all below it."""
    if not _is_first_visit(folder, visited):
        return [], []
    folders, files = list_entries(folder)
    videos = [os.path.join(folder, file) for file in files if is_video_file(file)]
    frame_folders = []
    for name in folders:
        below = _list_videos(os.path.join(folder, name), visited)
        videos += below[0]
        frame_folders += below[1]
    # Pictures beside videos are thumbnails.
    if not top and not videos and any(file.lower().endswith(_IMAGE_SUFFIXES) for file in files):
        return [], [folder]
    return videos, frame_folders


def _is_first_visit(folder, visited):
    """Links are followed, and one that leads back to a folder above would never end."""
    status = os.stat(folder)
    known = (status.st_dev, status.st_ino) in visited
    visited.add((status.st_dev, status.st_ino))
    return not known


def _describe(empty):
    return f"none in {', '.join(map(repr, empty))}" if empty else "no class folders"
