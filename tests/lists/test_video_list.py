"""Lists of videos: what fits into one, and their division."""

import dataclasses
import pathlib

import numpy as np
import pytest

from keras_nonlocal.data import VideoList, split_videos


def videos_of(*counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    paths = [f"{label}/{number}.mp4" for number, label in enumerate(labels)]
    return VideoList(paths, labels, [f"class{n}" for n in range(len(counts))])


def full_list():
    """Three videos with everything that a list can tell of them."""
    return VideoList(
        ["a", "b", "c"],
        [[1, 0], [0, 0], [1, 1]],
        ["x", "y"],
        events=[[(0, 1.0, 2.5)], [], [(0, 0, 1), (1, 3, 3)]],
        num_frames=[7, 0, 9],
        fps=24.0,
        segments=[(0, 4), (1, 2), (2.5, np.inf)],
    )


def test_labels_must_match_paths():
    with pytest.raises(
        ValueError, match="`labels` must hold one class number per path. Received: 1"
    ):
        VideoList(["a.mp4"], [0, 1], ["x", "y"])


def test_labels_must_be_classes():
    with pytest.raises(ValueError, match=r"`labels` must lie in \[0, 1\).*Received: 1 for 'b.mp4'"):
        VideoList(["a.mp4", "b.mp4"], [0, 1], ["x"])


@pytest.mark.parametrize("label", [0.5, np.nan, "x", 2**40], ids=str)
def test_labels_must_be_integers(label):
    with pytest.raises(ValueError, match="`labels` must be class numbers, integers. Received:"):
        VideoList(["a.mp4"], [label], ["x"])


def test_label_tables_need_a_column_a_class():
    with pytest.raises(ValueError, match=r"here \(1, 3\). Received: shape \(1, 2\)"):
        VideoList(["a.mp4"], [[0, 1]], ["x", "y", "z"])


def test_label_tables_hold_zeros_and_ones():
    with pytest.raises(ValueError, match=r"zeros and ones. Received: \[0.0, 0.5\] for 'b.mp4'"):
        VideoList(["a.mp4", "b.mp4"], [[0, 1], [0, 0.5]], ["x", "y"])


@pytest.mark.parametrize("num_frames", [[3], [3, -1]], ids=["too_few", "negative"])
def test_num_frames_must_fit(num_frames):
    with pytest.raises(ValueError, match="`num_frames` must hold a number of frames for each"):
        VideoList(["a", "b"], [0, 0], ["x"], num_frames=num_frames)


def test_events_must_match_paths():
    with pytest.raises(ValueError, match="`events` must hold a sequence.*Received: 2 paths, 1"):
        VideoList(["a", "b"], [0, 0], ["x"], events=[[]])


@pytest.mark.parametrize(
    "event",
    [(1, 0, 1), (0, 2, 1), (0, -1, 1), (0, 0, np.inf)],
    ids=["class", "end", "start", "inf"],
)
def test_events_must_be_of_a_class_and_time(event):
    with pytest.raises(ValueError, match=r"`events` must be .*\[0, 1\).*Received: .* for 'a'"):
        VideoList(["a"], [0], ["x"], events=[[event]])


@pytest.mark.parametrize("fps", [0, -1.0, np.nan, np.inf])
def test_fps_must_be_positive(fps):
    with pytest.raises(ValueError, match=f"`fps` must be a positive.*Received: fps={fps}"):
        VideoList(["a"], [0], ["x"], fps=fps)


def test_fields_have_one_form():
    videos = full_list()
    assert videos.labels.dtype == np.float32
    assert videos.num_frames.dtype == np.int64
    assert videos.events[0] == ((0, 1.0, 2.5),)
    assert videos_of(1).labels.dtype == np.int32


def test_multi_label_tells_tables_from_numbers():
    assert full_list().multi_label
    assert not videos_of(2, 2).multi_label


def test_select_takes_all_fields():
    videos = full_list().select([2, 0])
    assert videos.paths == ("c", "a")
    assert videos.labels.tolist() == [[1, 1], [1, 0]]
    assert videos.events == (((0, 0, 1), (1, 3, 3)), ((0, 1.0, 2.5),))
    assert videos.num_frames.tolist() == [9, 7]
    assert videos.segments.tolist() == [[2.5, np.inf], [0, 4]]
    assert videos.fps == 24.0
    assert videos.class_names == ("x", "y")


def test_select_of_nothing_is_empty():
    assert len(full_list().select([])) == 0


def test_select_refuses_masks():
    with pytest.raises(ValueError, match="`indices` must be integers.*Received: bool values"):
        full_list().select([True, False, True])


def test_a_list_is_a_sequence():
    videos = full_list()
    assert tuple(videos[2]) == (
        "c",
        pytest.approx([1, 1]),
        (2.5, np.inf),
        ((0, 0, 1), (1, 3, 3)),
        9,
    )
    assert videos[-3].path == "a"
    assert tuple(videos_of(1, 2)[1]) == ("1/1.mp4", 1, None, None, None)
    assert [video.path for video in videos] == ["a", "b", "c"]
    for part, whole in ((videos[1:], [1, 2]), (videos[::-2], [2, 0]), (videos[3:], [])):
        assert (part.paths, part.events) == (
            videos.select(whole).paths,
            videos.select(whole).events,
        )
    for index in (3, -4):
        with pytest.raises(IndexError, match="below 3"):
            videos[index]


def test_filter_keeps_what_the_function_says():
    videos = full_list().filter(lambda video: video.num_frames > 0 and video.label[1])
    assert (videos.paths, videos.labels.tolist()) == (("c",), [[1, 1]])


def test_replace_changes_a_field():
    assert dataclasses.replace(full_list(), fps=12.0).fps == 12.0


SEGMENTS = {
    "too_few": ([(0, 1)], "seconds", r"of shape \(videos, 2\), here \(2, 2\)"),
    "empty": ([(0, 1), (2, 2)], "seconds", r"later end in seconds. Received: \[2.0, 2.0\] for 'b'"),
    "negative": ([(0, 1), (-1, 2)], "seconds", "later end in seconds"),
    "nan": ([(0, 1), (1, np.nan)], "seconds", "later end in seconds"),
    "fraction": ([(0, 1), (0, 2.5)], "frames", r"later end in frames. Received: \[0.0, 2.5\]"),
    "unit": ([(0, 1), (0, 2)], "ms", "`time_unit` must be"),
}


@pytest.mark.parametrize(("segments", "unit", "message"), SEGMENTS.values(), ids=SEGMENTS)
def test_segments_must_have_frames(segments, unit, message):
    with pytest.raises(ValueError, match=message):
        VideoList(["a", "b"], [0, 0], ["x"], segments=segments, time_unit=unit)


def test_a_video_may_have_many_segments():
    videos = VideoList(
        ["a", "a"], [0, 0], ["x"], segments=[(0, 2), (2, np.inf)], time_unit="frames"
    )
    assert videos.segments.dtype == np.float64
    assert [video.segment for video in videos] == [(0, 2), (2, np.inf)]


def test_videos_without_labels_are_refused_where_labels_are_needed():
    for videos in (VideoList(["a", "b"]), VideoList(["a", "b"], [-1, -1], ["x"])):
        assert videos.labels.tolist() == [-1, -1]
        with pytest.raises(ValueError, match="labels for training.*2 of 2 videos, 'a' first"):
            videos.check_labeled("training")
        with pytest.raises(ValueError, match="labels for splitting"):
            split_videos(videos)
    full_list().check_labeled("training")


def test_class_names_may_be_their_number():
    assert VideoList(["a"], [2], 3).class_names == ("0", "1", "2")


@pytest.mark.parametrize("names", [["x", ""], ["''"], 1.5, None, [3], [" "]], ids=repr)
def test_class_names_must_be_texts(names):
    with pytest.raises(ValueError, match="`class_names` must be the names of the classes"):
        VideoList(["a"], [0], names)


def test_paths_may_be_bytes_and_path_objects():
    paths = [b"a/\xc3\xa9.mp4", pathlib.Path("b.mp4"), "gs://c/d.mp4"]
    assert VideoList(paths).paths == ("a/\u00e9.mp4", "b.mp4", "gs://c/d.mp4")


def test_split_keeps_the_segments_of_a_file_together():
    paths = [f"{n % 10}.mp4" for n in range(40)]
    segments = [(n, n + 1) for n in range(40)]
    videos = VideoList(paths, np.arange(40) % 3, 3, segments=segments)
    parts = split_videos(videos, validation=0.3, seed=4)
    assert [len(part) for part in parts] == [28, 12]
    assert set(parts[0].paths).isdisjoint(parts[1].paths)
    assert sorted(s[0] for part in parts for s in part.segments) == list(range(40))


@pytest.mark.parametrize("seed", [-1, 0.5, None])
def test_split_needs_an_integer_seed(seed):
    with pytest.raises(
        ValueError, match=f"`seed` must be an integer from 0. Received: seed={seed}"
    ):
        split_videos(videos_of(2, 2), seed=seed)


def test_split_is_a_division_within_each_class():
    videos = videos_of(10, 5)
    training, validation = split_videos(videos, validation=0.2, seed=0)
    assert sorted(training.paths + validation.paths) == sorted(videos.paths)
    assert np.bincount(validation.labels).tolist() == [2, 1]
    assert all(
        path[0] == str(label) for path, label in zip(training.paths, training.labels, strict=True)
    )


def test_split_follows_its_seed():
    videos = videos_of(20, 20)
    first, again, other = (split_videos(videos, seed=seed)[1].paths for seed in (1, 1, 2))
    assert first == again != other


def test_split_leaves_every_class_a_video_on_both_sides():
    for share in (0.01, 0.99):
        for part in split_videos(videos_of(2, 3), validation=share):
            assert set(part.labels) == {0, 1}


def test_split_needs_two_videos_a_class():
    with pytest.raises(ValueError, match="two videos or more.*Received: 1 of class 'class1'"):
        split_videos(videos_of(2, 1))


@pytest.mark.parametrize("share", [0, 1, -0.5])
def test_split_share_must_be_a_share(share):
    with pytest.raises(ValueError, match=f"must lie between 0 and 1. Received: validation={share}"):
        split_videos(videos_of(2, 2), validation=share)


def test_split_takes_no_paths():
    with pytest.raises(ValueError, match="`videos` must be a `VideoList`. Received: 'videos'"):
        split_videos("videos")


def test_split_divides_videos_of_several_classes_as_a_whole():
    parts = split_videos(full_list(), validation=0.4)
    assert [len(part) for part in parts] == [2, 1]
    assert sorted(parts[0].paths + parts[1].paths) == ["a", "b", "c"]
    assert all(part.multi_label and part.fps == 24.0 for part in parts)
