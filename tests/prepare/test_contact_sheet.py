"""A contact sheet shows the pixels of clips in their places, and says whose they are."""

import importlib.util
import io
import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.data import ClipSpec, VideoList, read_records
from keras_nonlocal.prepare import contact_sheet
from keras_nonlocal.prepare.contact_sheet import DrawnClip
from keras_nonlocal.prepare.convert import make_plan, prepare_videos
from tests.made_videos import write

WHITE = 255


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A dark and a light video: frame n has the grey 10 + 4 n or 130 + 4 n."""
    root = tmp_path_factory.mktemp("videos")
    for first, name in ((10, "dark"), (130, "light")):
        grey = (first + 4 * np.arange(30, dtype=np.uint8))[:, None, None, None]
        frames = np.broadcast_to(grey, (30, 48, 64, 3))
        write(root / f"{name}.mp4", frames, qp=0)
    return VideoList([root / "dark.mp4", root / "light.mp4"], [0, 1], ["dark", "light"])


def listed(labels, classes=None):
    """Videos that are never opened."""
    classes = classes or [str(n) for n in range(np.max(labels) + 1)]
    return VideoList([f"{n}.mp4" for n in range(len(labels))], labels, classes)


def random_clips(count, frames=8, crop=64):
    generator = np.random.default_rng(0)
    return [
        DrawnClip(
            n, np.arange(frames), generator.integers(0, 256, (frames, crop, crop, 3), "uint8")
        )
        for n in range(count)
    ]


def draw(videos, clips, title="clips"):
    """Gives the sheet's pixels, `(height, width, 3)`."""
    from PIL import Image

    sheet = Image.open(io.BytesIO(contact_sheet.draw_contact_sheet(videos, clips, title)))
    assert sheet.format == "PNG"
    return np.asarray(sheet)


def find(sheet, picture):
    """Gives the places (row, column) of a picture's upper left corner in a sheet."""
    height, width = picture.shape[:2]
    corners = np.argwhere((sheet == picture[0, 0]).all(axis=-1))
    return [
        (y, x)
        for y, x in corners.tolist()
        if np.array_equal(sheet[y : y + height, x : x + width], picture)
    ]


def test_every_frame_stands_once_in_its_row_and_in_order():
    clips = random_clips(3)
    sheet = draw(listed([0, 0, 0]), clips)
    places = np.array([[find(sheet, frame) for frame in clip.frames] for clip in clips])
    assert places.shape == (3, 8, 1, 2)
    rows, columns = places[:, :, 0, 0], places[:, :, 0, 1]
    assert (rows == rows[:, :1]).all() and (np.diff(rows[:, 0]) > 64).all()
    assert (columns == columns[0]).all() and (np.diff(columns[0]) > 64).all()


def test_tiny_frames_are_enlarged_without_a_change():
    (clip,) = random_clips(1, frames=2, crop=20)
    sheet = draw(listed([0]), [clip])
    for frame in clip.frames:
        assert len(find(sheet, frame.repeat(4, axis=0).repeat(4, axis=1))) == 1


@pytest.mark.parametrize("frames, shown", [(16, 16), (17, 9), (32, 16), (64, 16)])
def test_long_clips_show_some_of_their_frames(frames, shown):
    (clip,) = random_clips(1, frames=frames)
    sheet = draw(listed([0]), [clip])
    found = [number for number, frame in enumerate(clip.frames) if find(sheet, frame)]
    assert found == list(range(0, frames, -(-frames // 16)))
    assert len(found) == shown


NAMES = {
    "a name": "run",
    "a long name": "running away from a bear in the woods while playing the bass guitar",
    "a formula that is none": r"$\frac$",
    "nothing but dollars": "$$$",
    "a line break": "run\nfast\x1b[2J",
    "another script": "跑步",
    "no UTF-8": "run\udcff",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_whatever_a_name_holds_stays_beside_the_frames(name):
    clips = random_clips(1)
    labels, paths = [0], [f"folder/{name}.mp4"]
    sheet = draw(VideoList(paths, labels, [name]), clips)
    ((top, left),) = find(sheet, clips[0].frames[0])
    label = sheet[top : top + 64, :left]
    assert (label < WHITE).any()
    assert (label[:, -8:] == WHITE).all()
    assert (sheet[top + 64 + 2 :] == WHITE).all()


def lines_beside(sheet, clip):
    """Counts the lines of text beside a clip: runs of rows that are not white."""
    ((top, left),) = find(sheet, clip.frames[0])
    inked = (sheet[top : top + len(clip.frames[0]), :left] < 160).any(axis=(1, 2))
    return sum(key for key, _ in itertools.groupby(inked))


@pytest.mark.parametrize("crop, lines", [(64, 3), (112, 5), (160, 7)])
def test_as_many_classes_are_named_as_have_room(crop, lines):
    # Class, file and place take three lines; five classes seven.
    videos = VideoList(["xxx"], [[1, 1, 1, 1, 1, 0]], ["xxx"] * 6)
    (clip,) = random_clips(1, frames=1, crop=crop)
    assert lines_beside(draw(videos, [clip]), clip) == lines


def test_clips_are_those_of_their_videos(videos):
    clips, faults = contact_sheet.draw_clips(videos, [1, 0], "4x2", crop=32, seed=0)
    assert faults == {}
    assert [clip.index for clip in clips] == [1, 0]
    for clip, first in zip(clips, (130, 10), strict=True):
        assert clip.frames.shape == (4, 32, 32, 3)
        expected = first + 4 * clip.indices
        np.testing.assert_allclose(clip.frames.mean(axis=(1, 2, 3)), expected, atol=2)
        assert np.diff(clip.indices).tolist() == [2, 2, 2]


def test_clips_are_drawn_anew_by_another_seed_alone(videos):
    starts = [
        [c.indices[0] for c in contact_sheet.draw_clips(videos, [0, 1], "2x2", 32, seed)[0]]
        for seed in (0, 0, 1)
    ]
    assert starts[0] == starts[1] != starts[2]


def test_a_clip_does_not_depend_on_those_beside_it(videos):
    (alone,), _ = contact_sheet.draw_clips(videos, [1], ClipSpec(2, 2), 32)
    _, beside = contact_sheet.draw_clips(videos, [0, 1], ClipSpec(2, 2), 32)[0]
    np.testing.assert_array_equal(alone.frames, beside.frames)


def test_videos_of_one_length_begin_at_places_of_their_own(videos):
    alike = VideoList([videos.paths[0]] * 6, [0] * 6, ["any"])
    clips, _ = contact_sheet.draw_clips(alike, range(6), "2x2", 32)
    assert len({clip.indices[0] for clip in clips}) > 1


def test_clips_lie_inside_their_segment(videos):
    segments = [(2, 5), (1, 4)] * 4
    listed = VideoList(
        [videos.paths[0]] * 8, [0] * 8, ["any"], segments=segments, time_unit="frames"
    )
    clips, _ = contact_sheet.draw_clips(listed, range(8), "2x1", 32)
    for clip, (start, end) in zip(clips, segments, strict=True):
        assert start <= clip.indices.min() and clip.indices.max() < end
        expected = 10 + 4 * clip.indices
        np.testing.assert_allclose(clip.frames.mean(axis=(1, 2, 3)), expected, atol=2)


def test_a_video_that_cannot_be_decoded_is_told(videos, tmp_path):
    broken = VideoList([tmp_path / "a.mp4", videos.paths[0]], [0, 0], ["any"])
    clips, faults = contact_sheet.draw_clips(broken, [0, 1], "2x2", 32)
    assert [clip.index for clip in clips] == [1]
    assert str(tmp_path / "a.mp4") in faults[0]


def test_every_class_gets_a_row_before_one_gets_two():
    videos = listed([0] * 50 + [1] * 3 + [2])
    for count, expected in ((3, [1, 1, 1]), (5, [2, 2, 1]), (10, [6, 3, 1]), (100, [50, 3, 1])):
        numbers = contact_sheet.spread_over_classes(videos, range(54), count)
        assert len(set(numbers)) == len(numbers)
        assert np.bincount(videos.labels[numbers]).tolist() == expected
        assert (np.diff(videos.labels[numbers]) >= 0).all()


def test_fewer_rows_than_classes_show_others_by_another_seed():
    videos = listed(list(range(40)))
    drawn = [contact_sheet.spread_over_classes(videos, range(40), 5, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(len(set(numbers)) == 5 for numbers in drawn)


def test_only_the_videos_that_are_offered_are_drawn():
    videos = listed([0, 0, 1, 1])
    assert contact_sheet.spread_over_classes(videos, [1, 3], 4) == [1, 3]
    assert contact_sheet.spread_over_classes(videos, [], 4) == []


def test_a_video_of_several_classes_takes_one_row():
    videos = listed([[1, 1, 0], [1, 0, 0], [0, 0, 0]], ["a", "b", "c"])
    assert sorted(contact_sheet.spread_over_classes(videos, range(3), 9)) == [0, 1]


CAPTIONS = {
    "in order": ([3, 5, 9], "frames 3 to 9"),
    "wrapped around": ([0, 8, 16, 24, 32, 5, 13, 21], "frames 0 to 32, wrapped around"),
    "wrapped to repeats": ([0, 8, 0, 8], "frames 0 to 8, some repeated"),
    "the last frame again": ([7, 9, 9], "frames 7 to 9, some repeated"),
    "one frame": ([4], "frames 4 to 4"),
}


@pytest.mark.parametrize("indices, text", CAPTIONS.values(), ids=CAPTIONS)
def test_the_caption_names_the_frames_of_a_clip(indices, text):
    assert contact_sheet.describe_frames(np.array(indices)) == text


def test_no_clips_are_refused():
    with pytest.raises(ValueError, match="`clips` must hold a clip"):
        contact_sheet.draw_contact_sheet(listed([0]), [], "none")


def test_without_pillow_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"keras_nonlocal\[viz\]"):
        contact_sheet.draw_contact_sheet(listed([0]), random_clips(1), "none")


def test_clips_of_records_and_folders_of_frames_are_drawn(videos, tmp_path):
    prepare_videos(make_plan(videos), tmp_path / "records")
    pictures = tmp_path / "frames" / "one"
    pictures.mkdir(parents=True)
    for number in range(8):
        picture = tf.io.encode_png(np.full((40, 56, 3), 10 * number, np.uint8))
        tf.io.write_file(str(pictures / f"{number}.png"), picture)
    for others in (read_records(tmp_path / "records"), VideoList([pictures], [0], ["one"])):
        clips, faults = contact_sheet.draw_clips(others, [0], "4x2", crop=32)
        assert faults == {}
        assert clips[0].frames.shape == (4, 32, 32, 3)
