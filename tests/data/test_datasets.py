"""`video_dataset_from_directory` beside `keras.utils.image_dataset_from_directory`."""

import shutil

import keras
import numpy as np
import PIL.Image
import pytest

from keras_nonlocal.data import video_dataset_from_directory
from tests.made_videos import write

CLASSES = ("jump", "run", "walk")
OPTIONS = {"clip": "2x2", "image_size": 32, "batch_size": 4, "verbose": False}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Ten videos and ten pictures of the same names; the brightness of each is its number."""
    root = tmp_path_factory.mktemp("videos")
    for number in range(10):
        folder = root / CLASSES[number % 3]
        folder.mkdir(exist_ok=True)
        frame = np.full((40, 56, 3), 20 * number, np.uint8)
        write(folder / f"{number}.mp4", np.stack([frame] * 6), "mpeg4")
        PIL.Image.fromarray(frame[:32, :32]).save(folder / f"{number}.png")
    return root


def numbers_of(dataset):
    """The files in the order in which they come, and their labels."""
    clips, labels = zip(*dataset, strict=True)
    brightness = np.concatenate([np.asarray(each).mean((1, 2, 3, 4)) for each in clips])
    return np.round(brightness / 20).astype(int).tolist(), np.concatenate(labels)


def names_of(paths):
    return [path.rsplit("/", 1)[1].split(".")[0] for path in paths]


KERAS = {
    "inferred": {},
    "order": {"class_names": ["walk", "jump", "run"]},
    "some": {"class_names": ["walk", "jump"]},
    "list": {"labels": [2, 0, 1, 1, 0, 2, 2, 1, 0, 1]},
    "one-hot": {"label_mode": "categorical"},
    "binary": {"label_mode": "binary", "class_names": ["walk", "jump"]},
    "training": {"validation_split": 0.3, "subset": "training"},
    "validation": {"validation_split": 0.3, "subset": "validation"},
}


@pytest.mark.parametrize("name", KERAS)
def test_files_labels_and_classes_are_those_of_keras(name, directory):
    ours = video_dataset_from_directory(directory, **KERAS[name], **OPTIONS, shuffle=False)
    theirs = keras.utils.image_dataset_from_directory(
        directory, **KERAS[name], image_size=(32, 32), batch_size=4, shuffle=False, verbose=False
    )
    assert ours.class_names == theirs.class_names
    assert names_of(ours.file_paths) == names_of(theirs.file_paths)
    files, labels = numbers_of(ours)
    assert files == list(map(int, names_of(ours.file_paths)))
    expected = np.concatenate([batch for _, batch in theirs])
    np.testing.assert_array_equal(labels, expected)
    assert labels.dtype == expected.dtype and labels.shape == expected.shape
    assert ours.cardinality() == theirs.cardinality()


def test_both_parts_are_those_of_keras_and_epochs_shuffle(directory):
    split = {"validation_split": 0.3, "subset": "both", "seed": 7}
    ours = video_dataset_from_directory(directory, **split, **OPTIONS)
    theirs = keras.utils.image_dataset_from_directory(directory, **split, verbose=False)
    for mine, other in zip(ours, theirs, strict=True):
        assert names_of(mine.file_paths) == names_of(other.file_paths)
        assert mine.class_names == list(CLASSES)
    training, validation = ours
    first, again = numbers_of(training), numbers_of(training)
    assert sorted(first[0]) == sorted(again[0]) == sorted(map(int, names_of(training.file_paths)))
    assert first[0] != again[0]
    np.testing.assert_array_equal(first[1], [number % 3 for number in first[0]])
    assert numbers_of(validation)[0] == list(map(int, names_of(validation.file_paths)))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("options", [{"labels": None}, {"label_mode": None}], ids=str)
def test_without_labels_clips_come_alone(options, shuffle, directory):
    dataset = video_dataset_from_directory(directory, **options, **OPTIONS, shuffle=shuffle)
    clips = np.concatenate(list(dataset.as_numpy_iterator()))
    assert clips.shape == (10, 2, 32, 32, 3) and clips.dtype == np.uint8
    assert dataset.class_names is None or "label_mode" in options


def test_without_a_batch_size_single_clips_come(directory, capsys):
    options = {**OPTIONS, "batch_size": None, "image_size": (32, 48), "verbose": True}
    dataset = video_dataset_from_directory(directory, **options)
    assert dataset.element_spec[0].shape == (2, 32, 48, 3)
    assert len(list(dataset)) == 10
    assert capsys.readouterr().out == "Found 10 files belonging to 3 classes.\n"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"labels": "infer"}, '`labels` must be "inferred", None, or a list'),
        ({"labels": np.zeros(10, int)}, '`labels` must be "inferred", None, or a list'),
        ({"labels": [0, 1]}, "one class number per video.* Received: 2 labels, 10 videos"),
        ({"batch_size": 0}, "`batch_size` must be an integer from 1"),
        ({"labels": [0] * 10, "class_names": ["a"]}, '`class_names` goes with labels="inferred"'),
        ({"class_names": ["run", "swim"]}, "`class_names` must be names of class folders"),
        ({"label_mode": "one-hot"}, '`label_mode` must be "int"'),
        ({"label_mode": "binary"}, "must have exactly two classes. Received: 3"),
        ({"validation_split": 2, "subset": "both"}, "`validation_split` must be between 0 and 1"),
        ({"validation_split": 0.2, "subset": "test"}, '`subset` must be "training"'),
        ({"validation_split": 0.2}, "`validation_split` and `subset` go together"),
        ({"subset": "training"}, "`validation_split` and `subset` go together"),
        ({"validation_split": 0.2, "subset": "both"}, "`seed` must be given with"),
        ({"validation_split": 0.05, "subset": "both", "seed": 1}, "leave videos for validation"),
    ],
    ids=str,
)
def test_arguments_that_do_not_fit_are_refused(options, message, directory):
    with pytest.raises(ValueError, match=message):
        video_dataset_from_directory(directory, **{**OPTIONS, **options})


def test_listed_labels_go_in_the_order_of_keras(directory, tmp_path):
    """Files of a folder come before those of the folders in it; hidden ones do not count."""
    picture = PIL.Image.new("RGB", (32, 32))
    for name in ("b/z", "b/c", "b/a/x", "b.c/y", "w", ".v", "f/.g/u"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(directory / "jump" / "0.mp4", tmp_path / f"{name}.mp4")
        if "/." not in f"/{name}":
            picture.save(tmp_path / f"{name}.png")
    labels = [0, 1, 2, 0, 1]
    options = {"shuffle": False, "verbose": False, "batch_size": 5}
    ours = video_dataset_from_directory(tmp_path, labels, clip="2x2", image_size=32, **options)
    theirs = keras.utils.image_dataset_from_directory(tmp_path, None, None, **options)
    assert names_of(ours.file_paths) == names_of(theirs.file_paths) == ["w", "c", "z", "y", "x"]
    assert next(iter(ours))[1].numpy().tolist() == labels


def test_unlabeled_folders_may_be_urls_or_hold_folders_of_frames(directory, tmp_path):
    dataset = video_dataset_from_directory(f"file://{directory}", labels=None, **OPTIONS)
    assert len(dataset.file_paths) == 10 and next(iter(dataset)).shape == (4, 2, 32, 32, 3)
    (tmp_path / "v").mkdir()
    for number in range(4):
        PIL.Image.new("RGB", (48, 40), (40,) * 3).save(tmp_path / "v" / f"{number}.png")
    dataset = video_dataset_from_directory(tmp_path, labels=None, **OPTIONS)
    assert next(iter(dataset)).numpy().tolist() == np.full((1, 2, 32, 32, 3), 40).tolist()
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        video_dataset_from_directory(tmp_path / "none", labels=None, **OPTIONS)
