"""Attention maps are the block's own scores, and their picture is drawn."""

import sys

import keras
import numpy as np
import pytest

import keras_nonlocal
from keras_nonlocal.visualization import attention_maps, draw_attention

SHAPE = (4, 16, 24, 3)


def block_on_pixels(**options):
    """A network whose block sees every second pixel, by places that one can compute."""
    inputs = keras.Input(SHAPE)
    x = keras.layers.AveragePooling3D((1, 2, 2))(inputs)
    layer = keras_nonlocal.NonLocal3D(mode="gaussian", inner_channels=2, name="block", **options)
    return keras.Model(inputs, layer(x))


@pytest.fixture(scope="module")
def clip():
    return np.random.default_rng(0).normal(size=SHAPE).astype("float32")


def gaussian_attention(clip, query, pool):
    """Softmax of scaled dot products, from the definition."""
    x = np.float64(clip).reshape(4, 8, 2, 12, 2, 3).mean((2, 4))
    keys = x.reshape(4, 8 // pool, pool, 12 // pool, pool, 3).max((2, 4))
    exponentials = np.exp(keys @ x[query] / np.sqrt(3))
    return exponentials / exponentials.sum()


@pytest.mark.parametrize("pool", [1, 2])
def test_weights_are_those_of_the_definition(clip, pool):
    model = block_on_pixels(pool_size=2 if pool == 2 else None)
    weights, query = attention_maps(model, clip, "block", query=(2, 9, 20))
    assert query == (2, 9, 20)
    np.testing.assert_allclose(weights, gaussian_attention(clip, (2, 4, 10), pool), atol=1e-6)


def test_without_a_query_the_place_that_looks_sharply_into_every_frame_is_shown(clip):
    _, query = attention_maps(block_on_pixels(), clip, "block")
    places = np.ndindex(4, 8, 12)
    peaks = {p: gaussian_attention(clip, p, 2).max((1, 2)).prod() for p in places}
    frame, row, column = max(peaks, key=peaks.get)
    assert query == (frame, 2 * row + 1, 2 * column + 1)


def test_a_picture_is_written(clip, tmp_path):
    path = tmp_path / "attention.png"
    figure = draw_attention(block_on_pixels(), clip, "block", path=path, title="What it sees")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert figure.get_suptitle() == "What it sees"
    # Two rows of four frames, and the scale.
    assert len(figure.axes) == 9


def test_a_network_of_the_package_is_drawn(tmp_path):
    model = keras_nonlocal.NLI3D(depth=(1, 1, 1, 1), width=8, input_shape=(8, 32, 32, 3), classes=2)
    name = next(layer.name for layer in model.layers if layer.name.endswith("nonlocal"))
    clip = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    figure = draw_attention(model, clip, name, query=(3, 10, 10))
    assert len(figure.axes) == 17


def test_a_layer_that_is_no_block_is_refused(clip):
    with pytest.raises(ValueError, match="must name a non-local block.*'nowhere'. It has: block"):
        attention_maps(block_on_pixels(), clip, "nowhere")


def test_a_block_over_space_alone_is_refused(clip):
    model = block_on_pixels(axes="space")
    with pytest.raises(ValueError, match="all places of all frames. Received: 'block'"):
        attention_maps(model, clip, "block")


def test_a_batch_is_refused(clip):
    with pytest.raises(ValueError, match=r"`clip` must be one clip.*\(1, 4, 16, 24, 3\)"):
        attention_maps(block_on_pixels(), clip[None], "block")


def test_pixels_are_refused_for_a_network_of_normalized_clips():
    shape = (4, 32, 32, 3)
    options = {"depth": (1, 1, 1, 1), "width": 4, "input_shape": shape, "classes": 2}
    model = keras_nonlocal.NLI3D(**options, include_preprocessing=False)
    with pytest.raises(ValueError, match="`clip` must be normalized.* Received: clips of uint8"):
        attention_maps(model, np.zeros(shape, "uint8"), "res3_0_nonlocal")


def test_a_query_outside_the_clip_is_refused(clip):
    with pytest.raises(ValueError, match=r"`query` must lie in the clip.*query=\(4, 0, 0\)"):
        attention_maps(block_on_pixels(), clip, "block", query=(4, 0, 0))


def test_without_matplotlib_the_extra_is_named(clip, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install keras_nonlocal\[viz\]"):
        draw_attention(block_on_pixels(), clip, "block")
