"""The published lists of Kinetics, UCF101 and HMDB51."""

import os

import pytest

from keras_nonlocal.data import read_hmdb51, read_kinetics, read_ucf101
from tests.lists.annotation_files import frames, hmdb51, kinetics, touch, ucf101


def names(videos, root):
    return [os.path.relpath(path, root) for path in videos.paths]


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_kinetics_finds_files_under_all_their_names(tmp_path):
    annotations, folder = kinetics(tmp_path)
    videos = read_kinetics(annotations, folder)
    assert names(videos, folder) == [
        "riding_a_bike/Zz9__000000_000010.mkv",
        "air drumming/-AbC_000059_000069.mp4",
        "val/onlyid.webm",
    ]
    assert videos.class_names == ("abseiling", "air drumming", "riding a bike")
    assert videos.labels.tolist() == [2, 1, 0]


def test_kinetics_needs_no_column_is_cc(tmp_path):
    annotations, folder = kinetics(tmp_path)
    for old, new in ((",is_cc", ""), (",val,0", ",val"), (",val,1", ",val")):
        replace(annotations, old, new)
    assert len(read_kinetics(annotations, folder)) == 3


def test_kinetics_takes_the_file_in_the_folder_of_its_class(tmp_path):
    annotations, folder = kinetics(tmp_path)
    touch(folder, "juggling/-AbC_000059_000069.mp4")
    assert names(read_kinetics(annotations, folder), folder)[1].startswith("air drumming/")


def test_kinetics_takes_classes_as_given(tmp_path):
    annotations, folder = kinetics(tmp_path)
    classes = ("riding a bike", "zumba", "air drumming", "abseiling")
    videos = read_kinetics(annotations, folder, class_names=classes)
    assert videos.class_names == classes
    assert videos.labels.tolist() == [0, 2, 3]


def test_kinetics_goes_through_the_folder_once(tmp_path, monkeypatch):
    annotations, folder = kinetics(tmp_path)
    scanned = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: scanned.append(path) or scandir(path))
    read_kinetics(annotations, folder)
    assert sorted(scanned) == sorted([str(folder), *(str(f) for f in folder.iterdir())])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("-AbC,59", "-AbC,0:59", "line 3, field 'time_start': must be a time.*Received: '0:59'"),
        ("-AbC,59,69", "-AbC,59,", "line 3, field 'time_end': must be a time.*Received: ''"),
        ("-AbC", "", "line 3, field 'youtube_id': must name a video"),
        ("air drumming,", ",", "line 3, field 'label': must name a class"),
        ("air drumming", "air, drumming", "line 3: must have 6 fields, as line 1.*Received: 7"),
        ("label,", "title,", "line 1: must name the columns 'label'.*Received: 'title'"),
        ('"riding a bike"', '"riding a bike', "line 2: a field that begins with a double quote"),
    ],
    ids=["time", "no_time", "id", "label", "fields", "columns", "quote"],
)
def test_kinetics_names_line_and_field(tmp_path, old, new, message):
    annotations, folder = kinetics(tmp_path)
    with pytest.raises(ValueError, match=f"validate.csv', {message}"):
        read_kinetics(replace(annotations, old, new), folder)


def test_kinetics_without_labels_is_told(tmp_path):
    annotations, folder = kinetics(tmp_path)
    annotations.write_text("youtube_id,time_start,time_end,split\nabc,0,10,test\n")
    with pytest.raises(ValueError, match="line 1: must name the columns.*without 'label'"):
        read_kinetics(annotations, folder)


def test_kinetics_drops_missing_videos(tmp_path):
    annotations, folder = kinetics(tmp_path)
    (folder / "val/onlyid.webm").unlink()
    with pytest.raises(FileNotFoundError, match="1 of the 3.*'onlyid_000104_000114' .from line 4"):
        read_kinetics(annotations, folder)
    videos = read_kinetics(annotations, folder, missing="drop")
    assert videos.labels.tolist() == [2, 1]
    assert len(videos.class_names) == 3


def test_kinetics_does_not_take_one_file_for_two_videos(tmp_path):
    annotations, folder = kinetics(tmp_path)
    annotations.write_text(annotations.read_text() + "zumba,onlyid,300,310,val,0\n")
    with pytest.raises(ValueError, match="line 5, field 'path'.*line 4 names it with another"):
        read_kinetics(annotations, folder)


@pytest.mark.parametrize(
    ("file", "labels"), [("trainlist01.txt", [0, 2]), ("testlist01.txt", [2, 0])]
)
def test_ucf101_reads_training_and_testing(tmp_path, file, labels):
    lists, folder = ucf101(tmp_path)
    videos = read_ucf101(lists / file, folder)
    assert videos.labels.tolist() == labels
    assert videos.class_names == ("ApplyEyeMakeup", "Archery", "BenchPress")
    assert [videos.class_names[n] for n in labels] == [
        n.split("/")[0] for n in names(videos, folder)
    ]


def test_ucf101_reads_folders_of_frames(tmp_path):
    lists, _ = ucf101(tmp_path)
    folder = frames(tmp_path / "frames", "v_ApplyEyeMakeup_g08_c01", "v_BenchPress_g01_c02")
    assert len(read_ucf101(lists / "trainlist01.txt", folder)) == 2


def test_ucf101_takes_a_class_index(tmp_path):
    lists, folder = ucf101(tmp_path)
    index = (lists / "classInd.txt").rename(tmp_path / "index.txt")
    assert len(read_ucf101(lists / "testlist01.txt", folder, class_names=index)) == 2
    with pytest.raises(FileNotFoundError, match="There is no file '.*classInd.txt'"):
        read_ucf101(lists / "testlist01.txt", folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (".avi 3", ".avi 2", "line 2, field 'label': must be 3, the number of 'BenchPress'"),
        ("BenchPress/", "BenchPres/", "line 2, field 'label'.*nearest class is 'BenchPress'"),
        ("BenchPress/v", "v", "line 2: must be <class>/<video>.avi.*Received: 'v_BenchPress"),
    ],
    ids=["number", "class", "folder"],
)
def test_ucf101_names_line_and_field(tmp_path, old, new, message):
    lists, folder = ucf101(tmp_path)
    with pytest.raises(ValueError, match=f"trainlist01.txt', {message}"):
        read_ucf101(replace(lists / "trainlist01.txt", old, new), folder)


@pytest.mark.parametrize(
    ("split", "part", "expected"),
    [
        (
            1,
            "train",
            [
                "brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi",
                "walk/#122_Cleaning_Up_walk_f_nm_np1_fr_med_0.avi",
            ],
        ),
        (1, "test", ["brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_1.avi"]),
        (2, "train", ["brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_1.avi"]),
    ],
)
def test_hmdb51_reads_a_part_of_a_split(tmp_path, split, part, expected):
    splits, folder = hmdb51(tmp_path)
    videos = read_hmdb51(splits, folder, split, part)
    assert names(videos, folder) == expected
    assert [videos.class_names[n] for n in videos.labels] == [n.split("/")[0] for n in expected]


def test_hmdb51_has_the_same_classes_in_both_parts(tmp_path):
    splits, folder = hmdb51(tmp_path)
    classes = [read_hmdb51(splits, folder, 1, part).class_names for part in ("train", "test")]
    assert classes == [("brush_hair", "walk")] * 2


@pytest.mark.parametrize(("old", "new"), [("avi 2", "avi 3"), ("avi 2", "avi")])
def test_hmdb51_names_line_and_field(tmp_path, old, new):
    splits, folder = hmdb51(tmp_path)
    replace(splits / "brush_hair_test_split1.txt", old, new)
    with pytest.raises(ValueError, match="brush_hair_test_split1.txt', line 2, field 'mark'"):
        read_hmdb51(splits, folder, 1, "train")


def test_hmdb51_names_missing_videos(tmp_path):
    splits, folder = hmdb51(tmp_path)
    (folder / "walk/#122_Cleaning_Up_walk_f_nm_np1_fr_med_0.avi").unlink()
    with pytest.raises(FileNotFoundError, match="'#122.*from line 1 of walk_test_split1.txt"):
        read_hmdb51(splits, folder, 1, "train")


def test_hmdb51_checks_its_arguments(tmp_path):
    splits, folder = hmdb51(tmp_path)
    with pytest.raises(ValueError, match='`part` must be "train" or "test".*part=\'val\''):
        read_hmdb51(splits, folder, 1, "val")
    with pytest.raises(FileNotFoundError, match="must hold files <class>_test_split4.txt"):
        read_hmdb51(splits, folder, 4, "train")
    with pytest.raises(FileNotFoundError, match="`annotations` must be the folder"):
        read_hmdb51(tmp_path / "nowhere", folder, 1, "train")
