"""One shard: its videos to one TFRecord file. The unit of work of every way to prepare videos."""

import dataclasses
import hashlib
import json
import os

from keras_nonlocal import files
from keras_nonlocal.data.record_lists import UNFINISHED
from keras_nonlocal.video import framing, sequence_examples
from keras_nonlocal.video.open import open_video

# Any process may be killed between any two system calls of a shard, which are:
#
#   1. its records are written into .preparing/NAME.HEX.part
#   2. its note is written into .preparing/NAME.json.HEX.part
#   3. the note is renamed to .preparing/NAME.json
#   4. the shard is renamed to NAME
#
# A shard counts as finished if both names are there, and the sizes agree. Before 4 it is made anew,
# and gives the same bytes, so that a note of before (killed between 3 and 4) does no harm. After
# 4 there is nothing left to do. Between renaming and here, `written_whole` brings each file to the
# disk before it gives it its name: what has its name is whole, also after a power cut. What has
# `.part` in its name belongs to nobody who lives, and the next run removes it.


@dataclasses.dataclass(frozen=True)
class Shard:
    """What there is to say about a finished shard, in values that JSON knows.

    Args:
        name: of the file.
        bytes: its size.
        sha256: of its bytes, in hexadecimal digits.
        records: list of dictionaries, one a video, in the order of the file: `offset`, `path` (the
            video's name in the plan), `labels`, `frames` and, where there are any, `events`.
        failures: list of dictionaries, one a video that could not be read: `path`, `reason`, and
            `state`, by which to see whether the file has changed since.
    """

    name: str
    bytes: int
    sha256: str
    records: list
    failures: list


def convert_video(plan, video):
    """Makes the record of one video.

    Args:
        plan: a `Plan`.
        video: number of the video in the plan's list.

    Returns:
        The serialised `tf.train.SequenceExample`, and its number of frames.

    Raises:
        OSError: if the video cannot be opened.
        ValueError: if it cannot be read, or is too long for a record.
    """
    videos = plan.videos
    num_frames = 0 if videos.num_frames is None else int(videos.num_frames[video])
    source = open_video(videos.paths[video], num_frames, videos.fps)
    info = source.info
    smaller = plan.short_side is not None and plan.short_side < min(info.height, info.width)
    frames, fps = source.iterate(plan.short_side if smaller else None), info.fps
    if plan.fps is not None:
        if not fps:
            raise ValueError(
                f"The video {videos.paths[video]!r} does not say how many frames a second it has, "
                f"so that it cannot be thinned to {plan.fps}. Leave `fps` out, or the video."
            )
        if fps > plan.fps:
            frames, fps = _thin(frames, plan.fps / fps), plan.fps
    example = sequence_examples.make_example(
        frames,
        plan.labels_of(video),
        videos.class_names,
        plan.names[video],
        fps=fps,
        events=plan.events_of(video),
        quality=plan.quality,
    )
    return sequence_examples.serialize(example), len(sequence_examples.frames_of(example))


def convert_shard(plan, number, directory, on_error="skip", report=None):
    """Makes one shard of a plan, which appears whole or not at all.

    The same plan gives the same bytes, wherever and however often it is done, also at the same
    time. Beside the shard, in `.preparing`, stays a note of what is in it; see `load_shard`.

    Args:
        plan: a `Plan`.
        number: of the shard, from 0.
        directory: existing folder for all shards.
        on_error: `"skip"` leaves broken videos out and notes them; `"raise"` stops at the first.
        report: function to call after each video, with its name and the reason why it could not be
            read, or `None`. What it raises stops the work.

    Returns:
        A `Shard`.

    Raises:
        OSError: if the shard cannot be written.
        OSError, ValueError: with `on_error="raise"`, if a video cannot be read.
    """
    name = plan.shard_name(number)
    unfinished = os.path.join(directory, UNFINISHED)
    os.makedirs(unfinished, exist_ok=True)
    records, failures, digest, size = [], [], hashlib.sha256(), 0
    with files.written_whole(os.path.join(directory, name), unfinished) as file:
        for video in plan.shards[number]:
            try:
                data, frames = convert_video(plan, video)
            except (OSError, ValueError) as error:
                if on_error == "raise":
                    raise
                failures.append(_describe_failure(plan, video, error))
                if report is not None:
                    report(plan.names[video], failures[-1]["reason"])
                continue
            records.append(_describe_record(plan, video, size, frames))
            for part in framing.frame_record(data):
                file.write(part)
                digest.update(part)
                size += len(part)
            if report is not None:
                report(plan.names[video], None)
        shard = Shard(name, size, digest.hexdigest(), records, failures)
        note = json.dumps(dataclasses.asdict(shard))
        files.write_whole(_note_path(plan, number, directory), note, unfinished)
    return shard


def load_shard(plan, number, directory):
    """Gives what is known of a finished shard.

    Args:
        plan: a `Plan`.
        number: of the shard, from 0.
        directory: folder of the shards.

    Returns:
        A `Shard`; `None` if it is not finished, or if a video that could not be read when it was
        made has changed since.
    """
    path = os.path.join(directory, plan.shard_name(number))
    try:
        with open(_note_path(plan, number, directory), encoding="utf-8") as file:
            shard = Shard(**json.load(file))
        if os.path.getsize(path) != shard.bytes:
            return None
    except FileNotFoundError:
        return None
    paths = {plan.names[video]: plan.videos.paths[video] for video in plan.shards[number]}
    changed = any(failure["state"] != _state(paths[failure["path"]]) for failure in shard.failures)
    return None if changed else shard


def _note_path(plan, number, directory):
    return os.path.join(directory, UNFINISHED, plan.shard_name(number) + ".json")


def _thin(frames, share):
    """Every frame at which another one of the slower video is due."""
    for number, frame in enumerate(frames):
        # The first is due at once; an epsilon, as a third of 3 may be a little less than 1.
        if number == 0 or int(number * share + 1e-9) > int((number - 1) * share + 1e-9):
            yield frame


def _describe_record(plan, video, offset, frames):
    record = {
        "offset": offset,
        "path": plan.names[video],
        "labels": plan.labels_of(video),
        "frames": frames,
    }
    events = plan.events_of(video)
    return record | ({"events": [list(event) for event in events]} if events else {})


def _describe_failure(plan, video, error):
    path, name = plan.videos.paths[video], plan.names[video]
    # Where the videos lie on this machine should not show in what is written.
    reason = " ".join(str(error).replace(path, name).split()) or type(error).__name__
    return {"path": name, "reason": reason, "state": _state(path)}


def _state(path):
    """What changes when somebody mends a file or a folder; `None` if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_mtime_ns, status.st_size]
