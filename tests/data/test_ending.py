"""A training that ends with an error ends."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys, time
import keras, numpy as np
import keras_nonlocal as knl

def decode(path, indices):
    if path == "5":
        raise OSError("gone")
    time.sleep(0.05)
    return np.zeros((len(indices), 24, 28, 3), np.uint8)

videos = knl.data.VideoList(range(40), [0] * 40, ["all"])
dataset = knl.data.clip_dataset(
    videos, "4x2", crop=16, training=True, batch_size=2, seed=1,
    decoder=decode, probe=lambda path: 40, clips_per_video=2,
)
layers = [keras.Input((4, 16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(1)]
model = keras.Sequential(layers)
model.compile("sgd", "mse")
model.fit(dataset, verbose=0)
"""


@pytest.mark.slow
def test_a_broken_video_in_fit_ends_the_process():
    # Videos are being fetched ahead when the error comes; without the wait it hangs for ever.
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 1
    assert "The video '5' cannot be read: gone" in ended.stderr
