"""LoRA on the sub-layers of a block survives files and copies, as on Keras' own layers."""

import keras
import numpy as np
import pytest

from keras_nonlocal import insert_non_local
from keras_nonlocal.layers import Conv3D, NonLocal3D


@pytest.mark.parametrize("trainable", [True, False], ids=["trainable", "frozen"])
def test_a_saved_block_comes_back_with_lora(trainable, tmp_path):
    inputs = keras.Input((2, 4, 4, 6))
    block = NonLocal3D(mode="concatenation", name="block")
    model = keras.Model(inputs, block(inputs))
    rng = np.random.default_rng(0)
    block.theta.enable_lora(1)
    block.out.enable_lora(2, lora_alpha=3)
    for variable in model.weights:
        variable.assign(rng.uniform(0.2, 1, variable.shape))
    block.trainable = trainable
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    again = loaded.get_layer("block")
    clips = rng.normal(size=(2, 2, 4, 4, 6)).astype("float32")
    np.testing.assert_allclose(loaded(clips), model(clips), rtol=1e-5, atol=1e-5)
    assert (again.theta.lora_rank, again.out.lora_rank, again.out.lora_alpha) == (1, 2, 3)
    assert not again.phi.lora_enabled
    paths = [[v.path for v in each.trainable_weights] for each in (block, again)]
    # All but the two adapted kernels and the moving statistics.
    assert paths[0] == paths[1] and len(paths[0]) == (13 if trainable else 0)
    # A norm that is not trainable keeps its statistics.
    assert {layer.trainable for layer in (again.theta, again.out, again.norm)} == {trainable}
    # The stored kernel holds the adapter, which begins anew.
    np.testing.assert_allclose(again.out.kernel, block.out.kernel, rtol=1e-6)
    np.testing.assert_array_equal(again.out.lora_kernel_b, 0 * block.out.lora_kernel_b)


COPIES = {
    "clone_model": keras.models.clone_model,
    "from_config": lambda model: keras.Model.from_config(model.get_config()),
    "copies_of_copies": lambda model: keras.models.clone_model(keras.models.clone_model(model)),
    "insert_non_local": lambda model: insert_non_local(model, "conv"),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_a_copied_block_has_lora(copy):
    """As a `Dense` with LoRA, in the same model, has it."""
    inputs = keras.Input((2, 4, 4, 6))
    block = NonLocal3D(name="block")
    x = Conv3D(3, 1, name="conv")(block(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, name="dense")(x))
    block.theta.enable_lora(2, lora_alpha=3)
    for name in ("conv", "dense"):
        model.get_layer(name).enable_lora(1)
    rng = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(rng.uniform(0.2, 1, variable.shape))
    other = copy(model)
    again = other.get_layer("block")
    assert (again.theta.lora_rank, again.theta.lora_alpha, again.phi.lora_rank) == (2, 3, None)
    assert other.get_layer("conv").lora_rank == other.get_layer("dense").lora_rank == 1
    if copy is not COPIES["insert_non_local"]:
        other.set_weights(model.get_weights())
    clips = rng.normal(size=(2, 2, 4, 4, 6)).astype("float32")
    np.testing.assert_array_equal(other(clips), model(clips))


def test_the_configuration_of_a_block_that_is_not_built_keeps_lora():
    block = NonLocal3D()
    block.build((None, 2, 4, 4, 6))
    block.out.enable_lora(2)
    copy = NonLocal3D.from_config(NonLocal3D.from_config(block.get_config()).get_config())
    copy.build((None, 2, 4, 4, 6))
    assert (copy.out.lora_rank, copy.g.lora_rank) == (2, None)
