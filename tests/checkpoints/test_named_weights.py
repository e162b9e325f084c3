"""Published weights by name, against what the public implementations answer.

A file with tensors made by rule stands in the place of the published one, so what is held here
is that a record names the builder, the arguments and the source of its file's network.
"""

import dataclasses

import keras
import numpy as np
import pytest

import keras_nonlocal as knl
from keras_nonlocal.checkpoints import download, registry
from tests.checkpoints import golden

RECORDS = {
    "gcv_i3d_nl5_r50_32x2": "nl_i3d_r50_32x2.kinetics400_gcv",
    "vnl_i3d_nl_r50_32x4_affine": "nl_i3d_r50_32x4_affine.kinetics400_vnl",
    "psf_c2d_nopool_r50_8x8": "c2d_r50_8x8_nopool.kinetics400_psf",
    "ptv_c2d_r50_8x8": "c2d_r50_8x8.kinetics400_ptv",
    "mma_i3d_heavy_r50_32x2": "i3d_r50_32x2_heavy.kinetics400_mma",
    "mma_i3d_nl_dot_product_r50_32x2": "nl_i3d_r50_32x2_dot_product.kinetics400_mma",
    "mma_slowonly_nl_r50_4x16": "nl_slowonly_r50_4x16.kinetics400_mma",
    "mma_c2d_nopool_r50_8x8": "c2d_r50_8x8_nopool.kinetics400_mma",
    "gcv_i3d_nl10_r50_32x2": "nl_i3d_r50_32x2_nl10.kinetics400_gcv",
}
# The first is the quickest.
NAMES = [next(iter(RECORDS)), *(pytest.param(n, marks=pytest.mark.slow) for n in list(RECORDS)[1:])]


@pytest.mark.parametrize("name", NAMES)
def test_named_weights_answer_as_the_implementation(name, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    record = dataclasses.replace(registry.CHECKPOINTS[RECORDS[name]], checksum=None)
    monkeypatch.setitem(registry.CHECKPOINTS, record.name, record)
    download.folder().mkdir(parents=True)
    facts = golden.read(name)
    golden.write({**facts, "name": "file"}, tmp_path).rename(download.folder() / record.file)

    expected, clip = golden.answer(name), golden.clip(facts)
    activation = None if facts["output"] == "logits" else "softmax"
    builder = getattr(knl, record.builder)
    model = builder(
        weights=record.name, input_shape=clip.shape[1:], classifier_activation=activation
    )
    answer = keras.ops.convert_to_numpy(model(clip))
    assert np.abs(answer - expected).max() <= 2e-4 * np.abs(expected).max()
    assert (model.source, model.clip) == (facts["source"], facts["clip"])
