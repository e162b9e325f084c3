"""A list of videos as a text file, to train from what a survey left over."""

import csv
import os

from keras_nonlocal.lists.path_lists import read_list


def write_list(path, videos):
    """Writes `path,label` rows that `read_list` reads back, paths from the root of the disk.

    Args:
        path: path of the file, which is replaced if it exists, and stays if it is refused: better
            write it beside where it shall stand.
        videos: a `VideoList` of files or folders of frames, one class each.

    Returns:
        Whether `read_list` numbers the classes of the list as `videos` does. It does not where
        no video of a class is left, or the names are in another order than the alphabet's; then
        it must be given `class_names`.

    Raises:
        ValueError: if a list cannot say what the videos are: they are records, show several
            classes, or have names that a list cannot hold.

    Example:

    ```python
    survey = survey_videos(videos)
    write_list("readable.csv", videos.select(survey.readable))
    ```
    """
    if videos.multi_label:
        raise ValueError(
            "`videos` must show one class each to be written as a list. Received: several "
            "classes a video. Remove the broken ones from the file that lists them."
        )
    paths = [os.path.abspath(each) for each in videos.paths]
    names = [videos.class_names[label] for label in videos.labels]
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows([("path", "label"), *zip(paths, names, strict=True)])
    # Names on a disk may hold anything; what the list says of them is best asked of its reader.
    try:
        again = read_list(path)
    except (OSError, ValueError) as fault:
        raise ValueError(f"`videos` cannot be written as a list: {fault}") from fault
    if list(again.paths) != paths or [again.class_names[label] for label in again.labels] != names:
        raise ValueError(
            "`videos` cannot be written as a list, as names of files or classes begin or end "
            "with spaces. Rename these, or remove the broken videos from where they lie."
        )
    return again.class_names == videos.class_names
