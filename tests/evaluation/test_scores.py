"""Score files keep all there is, and several of them are fused by video."""

import os

import numpy as np
import pytest

from keras_nonlocal.evaluation import Scores, fuse_scores, load_scores, save_scores

CLASSES = ["jump", "run & <hide>", "läuft"]


def scores_of(seed=0, videos=5, unreadable=(), order=None, **fields):
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(3), videos).astype("float32")
    probabilities[list(unreadable)] = np.nan
    order = np.arange(videos) if order is None else np.asarray(order)
    places = {number: place for place, number in enumerate(order.tolist())}
    return Scores(
        **{
            "paths": [f"{n}\u20ac.mp4" for n in order],
            "labels": order % 3,
            "classes": CLASSES,
            "probabilities": probabilities[order],
            "unreadable": {places[n]: f"{n} is broken" for n in unreadable},
            "settings": {"clip": "8x8"},
            "made_of": {"model": f"{seed}"},
            "versions": {"keras": "3"},
            **fields,
        }
    )


def test_a_file_gives_back_what_was_saved(tmp_path):
    scores = scores_of(unreadable=[1, 3])
    save_scores(tmp_path / "a.npz", scores)
    loaded = load_scores(tmp_path / "a.npz")
    for name in ("paths", "classes", "unreadable", "settings", "made_of", "versions"):
        assert getattr(loaded, name) == getattr(scores, name)
    np.testing.assert_array_equal(loaded.probabilities, scores.probabilities)
    np.testing.assert_array_equal(loaded.labels, scores.labels)


def test_labels_of_several_classes_are_kept(tmp_path):
    labels = np.array([[1, 0, 1]] * 5, "float32")
    save_scores(tmp_path / "a.npz", scores_of(labels=labels))
    loaded = load_scores(tmp_path / "a.npz")
    assert loaded.multi_label
    np.testing.assert_array_equal(loaded.labels, labels)


def test_equal_scores_are_equal_files(tmp_path, monkeypatch):
    save_scores(tmp_path / "a.npz", scores_of())
    monkeypatch.setattr("time.time", lambda: 2e9)
    save_scores(tmp_path / "b.npz", scores_of())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_damaged_files_are_told(tmp_path):
    save_scores(tmp_path / "a.npz", scores_of())
    whole = (tmp_path / "a.npz").read_bytes()
    random = np.random.default_rng(0)
    damaged = [b"", b"junk", whole[:-30], whole[: len(whole) // 2]]
    for place in random.integers(0, len(whole), 40):
        damaged.append(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
    told = 0
    for content in damaged:
        (tmp_path / "b.npz").write_bytes(content)
        try:
            loaded = load_scores(tmp_path / "b.npz")
        except ValueError as error:
            told += "is no file of scores, or is damaged" in str(error)
        else:  # A byte that means nothing, such as a time.
            np.testing.assert_array_equal(loaded.probabilities, scores_of().probabilities)
    assert told > 30


def test_pickles_are_not_run(tmp_path):
    np.savez(tmp_path / "a.npz", labels=np.array([{}], object), probabilities=[1], facts=[1])
    with pytest.raises(ValueError, match="is no file of scores"):
        load_scores(tmp_path / "a.npz")


def test_the_evaluation_is_of_what_was_read():
    scores = scores_of(unreadable=[1])
    assert len(scores.evaluation.labels) == 4
    assert np.isfinite(scores.evaluation.probabilities).all()


def test_rows_that_are_not_numbers_are_those_that_were_not_read():
    with pytest.raises(ValueError, match=r"NaN for the videos in `unreadable`.*'1€.mp4'"):
        scores_of(unreadable=[1], probabilities=np.ones((5, 3)))


def test_fusion_is_the_weighted_mean():
    parts = [scores_of(0), scores_of(1), scores_of(2)]
    fused = fuse_scores(parts, [1, 2, 5])
    expected = sum(w * p.probabilities.astype(float) for w, p in zip((1, 2, 5), parts, strict=True))
    np.testing.assert_allclose(fused.probabilities, expected / 8, rtol=1e-6)
    assert [part["weight"] for part in fused.settings["fused"]] == [0.125, 0.25, 0.625]


def test_videos_are_matched_by_path():
    order = [3, 0, 4, 2, 1]
    fused = fuse_scores([scores_of(0), scores_of(1, order=order)])
    same = fuse_scores([scores_of(0), scores_of(1)])
    np.testing.assert_array_equal(fused.probabilities, same.probabilities)


def test_relative_and_whole_paths_are_matched():
    whole = [os.path.abspath(f"{n}€.mp4") for n in range(5)]
    fused = fuse_scores([scores_of(0), scores_of(1, paths=whole)])
    same = fuse_scores([scores_of(0), scores_of(1)])
    np.testing.assert_array_equal(fused.probabilities, same.probabilities)
    assert fused.paths == scores_of().paths


def test_what_one_could_not_read_is_unreadable():
    parts = [scores_of(0, unreadable=[1]), scores_of(1, unreadable=[3], order=[4, 3, 2, 1, 0])]
    assert fuse_scores(parts).unreadable == {1: "1 is broken", 3: "3 is broken"}


FAULTS = {
    "videos": ({"paths": [f"{n}€.mp4" for n in (0, 1, 2, 3, 9)]},
               r"in part 1, 1 are missing, such as '4€.mp4'; 1 are not in the first.*'9€.mp4'"),
    "classes": ({"classes": ["jump", "sit", "läuft"]}, "the first other name 'sit' for 'run"),
    "labels": ({"labels": [0, 1, 2, 0, 0]}, "other labels in part 1"),
    "twice": ({"paths": [f"{n}€.mp4" for n in (0, 1, 2, 3, 3)]}, "'3€.mp4' several times in part"),
}  # fmt: skip


@pytest.mark.parametrize("fields, message", FAULTS.values(), ids=FAULTS)
def test_parts_about_something_else_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        fuse_scores([scores_of(0), scores_of(1, **fields)])


@pytest.mark.parametrize("weights", [[1], [1, -1], [0, 0], [1, np.nan]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValueError, match="`weights` must be a number from 0 for each of the 2"):
        fuse_scores([scores_of(0), scores_of(1)], weights)
