"""The made task of benchmarks/long_range.py: what tells its label, and what does not."""

import sys

import numpy as np
import pytest

from benchmarks import long_range


def _draw(count=20000):
    return long_range.draw_facts(np.random.default_rng(0), count)


def test_half_of_the_clips_show_one_color_twice():
    labels, colors, _, _ = _draw(100)
    assert labels.sum() == 50
    np.testing.assert_array_equal(labels == 1, colors[:, 0] == colors[:, 1])


def test_every_pair_of_different_colors_is_as_likely():
    labels, colors, _, _ = _draw()
    pairs = np.zeros((8, 8), int)
    np.add.at(pairs, tuple(colors[labels == 0].T), 1)
    assert pairs.trace() == 0
    # About 179 of each, which varies by 13.
    assert pairs[~np.eye(8, dtype=bool)].min() > 120


def test_patches_lie_far_apart_and_never_in_one_pair_of_frames():
    _, _, frames, corners = _draw()
    assert (np.abs(corners[:, 0] - corners[:, 1]) == long_range.SIDE // 2).all()
    assert corners.min() == 0 and corners.max() == long_range.SIDE - long_range.PATCH
    last_of_first = frames[:, 0] + long_range.SHOWN - 1
    # pool2 merges two frames, after which C2D sees each by itself.
    assert (last_of_first // 2 < frames[:, 1] // 2).all()
    assert frames[:, 1].max() + long_range.SHOWN == long_range.FRAMES


@pytest.mark.parametrize("patch", [0, 1], ids=["first", "second"])
def test_one_patch_is_distributed_alike_under_both_labels(patch):
    labels, colors, frames, corners = _draw()
    facts = np.column_stack([colors[:, patch], frames[:, patch], corners[:, patch]])
    for fact in facts.T:
        shares = [
            np.bincount(fact[labels == label], minlength=long_range.SIDE) / (labels == label).sum()
            for label in (0, 1)
        ]
        # A share of 1/2 out of 10,000 varies by 0.005.
        np.testing.assert_allclose(*shares, atol=0.025)


@pytest.fixture(scope="module")
def probed():
    """Clips and labels to fit a probe on, and others to test it."""
    return [long_range.make_clips((2, part), 2500) for part in range(2)]


def _frame_means(clips):
    return clips.mean((2, 3)).reshape(len(clips), -1)


def _mean_picture(clips):
    blocks = clips.mean(1).reshape(len(clips), 6, 4, 6, 4, 3)
    return blocks.mean((2, 4)).reshape(len(clips), -1)


def _products(clips):
    # Squares of the sum of both colours hold the product of one with the other.
    return (100 * clips.mean((1, 2, 3))) ** 2


@pytest.mark.parametrize(
    ("features", "accuracy"),
    [(_frame_means, 0.5), (_mean_picture, 0.5), (_products, 0.85)],
    ids=["each frame's mean", "mean picture", "products of both patches"],
)
def test_linear_probe_needs_products_of_both_patches(probed, features, accuracy):
    (train, train_labels), (test, test_labels) = probed
    train, test = (np.column_stack([features(x), np.ones(len(x))]) for x in (train, test))
    weights = np.linalg.lstsq(train, 2 * train_labels - 1, rcond=None)[0]
    found = ((test @ weights > 0) == test_labels).mean()
    if accuracy > 0.5:
        assert found > accuracy
    else:
        # Three and a half standard deviations of 2500 tosses.
        assert abs(found - 0.5) < 0.035


def test_clips_are_the_same_for_a_seed_and_differ_between_steps():
    batches = long_range.TrainingClips(seed=1, steps=2)
    np.testing.assert_array_equal(batches[0][0], batches[0][0])
    assert len(batches) == 2
    assert (batches[0][0] != batches[1][0]).mean() > 0.99


def test_render_adds_each_patch_in_its_place(monkeypatch):
    monkeypatch.setattr(long_range, "NOISE", 0.0)
    corners = np.array([[[1, 14], [13, 2]]])
    clip = long_range.render(
        np.random.default_rng(0), np.array([[3, 4]]), np.array([[1, 6]]), corners
    )[0]
    expected = np.zeros_like(clip)
    expected[1:3, 1:9, 14:22] = (1, 1, -1)
    expected[6:8, 13:21, 2:10] = (-1, -1, 1)
    np.testing.assert_array_equal(clip, expected)


@pytest.mark.parametrize(
    ("row", "additive"),
    [("C2D", True), ("space", True), ("NL C2D", False)],
)
def test_answers_add_up_over_patches_where_no_layer_relates_frames(row, additive):
    model = long_range.build(row)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        for variable in layer.weights:
            if variable.name == "gamma":
                variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    clips = np.zeros((4, *model.input_shape[1:]), "float32")
    clips[[0, 1], 1:3, 1:7, 1:7] = (1, -1, 1)
    clips[[0, 2], 6:8, 13:19, 13:19] = (1, 1, -1)
    both, first, second, none = model.predict(clips, verbose=0)
    if additive:
        np.testing.assert_allclose(both + none, first + second, rtol=1e-4, atol=1e-5)
    else:
        assert np.abs(both + none - first - second).max() > 1e-3


@pytest.mark.slow
def test_measure_trains_and_tests(monkeypatch):
    monkeypatch.setattr(long_range, "BATCH", 4)
    monkeypatch.setattr(long_range, "TEST_CLIPS", 8)
    line = long_range.measure("time", seed=5, steps=2)
    assert (line["row"], line["seed"], line["steps"]) == ("time", 5, 2)
    assert line["accuracy"] in np.arange(9) / 8
    assert line["parameters"] > long_range.build("C2D").count_params()


def test_run_trains_what_is_missing_and_draws_all(monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend("benchmarks")
    trained = []

    def measure(row, seed, steps):
        trained.append((row, seed))
        line = {"row": row, "seed": seed, "steps": steps, "accuracy": 0.5 + seed / 10}
        return line | {"loss": 0.7, "parameters": 10, "cpu_seconds": 60.0}

    monkeypatch.setattr(long_range, "measure", measure)
    results, picture = tmp_path / "results.csv", tmp_path / "picture.png"
    call = ["long_range.py", "--results", str(results), "--plot", str(picture), "--steps", "7"]
    for seeds in (["1"], ["1", "2"]):
        monkeypatch.setattr(sys, "argv", [*call, "--rows", "C2D", "time", "--seeds", *seeds])
        long_range.main()
    assert trained == [("C2D", 1), ("time", 1), ("C2D", 2), ("time", 2)]
    printed = capsys.readouterr().out
    assert "| network | C2D | 65.0 (60.0 to 70.0) |" in printed
    assert "|  | I3D | - |" in printed
    assert "4 trainings, 4 minutes of one core" in printed
    assert picture.stat().st_size > 1000
    assert set(long_range.read_results(results)) == {
        (row, 7, seed) for row in ("C2D", "time") for seed in (1, 2)
    }


def test_results_of_two_budgets_stay_apart(tmp_path):
    results = tmp_path / "results.csv"
    line = {"row": "C2D", "seed": 1, "steps": 7, "accuracy": 0.5}
    long_range.append_result(results, line)
    long_range.append_result(results, line | {"steps": 8, "accuracy": 0.75})
    found = long_range.accuracies(long_range.read_results(results))
    assert found == {("C2D", 7): [50.0], ("C2D", 8): [75.0]}


def test_table_names_every_row_once_trained():
    assert {row for names in long_range.TABLE.values() for row in names.values()} == set(
        long_range.ROWS
    )
