"""Run with KERAS_BACKEND=jax: what saved models answer there, and their gradients.

    python tests/jax_answers.py FOLDER

FOLDER holds NAME.keras, or a checkpoint NAME.SOURCE.CLIP.pkl or .pth, with NAME.npy, its input;
NAME.npz is written beside them. Clips of pixels.npy are normalized within a dataset.
"""

import pathlib
import sys

import jax
import keras
import numpy as np
import tensorflow as tf

import keras_nonlocal as knl
from keras_nonlocal.layers import pairwise


def main(folder):
    if keras.backend.backend() != "jax":
        raise SystemExit("Set KERAS_BACKEND=jax.")
    for path in sorted(folder.glob("*.keras")):
        pairwise.SORTING_PAYS_ABOVE_KEYS = 0 if path.stem.endswith("sorted") else 512
        model = keras.models.load_model(path)
        x = np.load(path.with_suffix(".npy"))
        trainable = [v.value for v in model.trainable_variables]
        rest = [v.value for v in model.non_trainable_variables]

        def loss(x, model=model, trainable=trainable, rest=rest):
            answer = model.stateless_call(trainable, rest, x)[0]
            return (answer**2).sum(), answer

        slope, answer = jax.jit(jax.grad(loss, has_aux=True))(x)
        np.savez(path.with_suffix(".npz"), answer=answer, slope=slope)
    for path in sorted((*folder.glob("*.pkl"), *folder.glob("*.pth"))):
        name, source, clip, _ = path.name.split(".")
        model = knl.load_checkpoint(path, source, clip, crop=64, include_preprocessing=False)
        np.savez(folder / f"{name}.npz", answer=model(np.load(folder / f"{name}.npy")))
    pixels = tf.data.Dataset.from_tensors(np.load(folder / "pixels.npy"))
    (clip,) = pixels.map(lambda clip: knl.preprocess_input(clip, "mmaction2")).as_numpy_iterator()
    np.savez(folder / "pixels.npz", answer=clip)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
