"""Files of published networks, with tensors made by rule, and what these networks answer.

`golden/NAME.json.gz` lists the tensors of a network of a public implementation as that
implementation names and shapes them; `golden/NAME.npy` is what it computed on the CPU in
float32, on a clip made by rule. The networks of video-nonlocal-net (Caffe2) were followed layer
by layer from its code at commit c253ed5, and agree to 5e-6 with the PyTorch port whose accuracy
with the real weights is published (Tushar-N/pytorch-resnet3d). All others are the real
implementations: PySlowFast at 287ec00, PyTorchVideo at f3142bb, MMAction2 at 4d6c934 with mmcv
2.2, GluonCV at 5677756; and those of `make_golden.py` from the packages that it names.
"""

import gzip
import json
import pathlib
import pickle
import re
import sys
import zlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent / "golden"
NAMES = sorted(path.stem for path in FOLDER.glob("*.npy"))


def read(name):
    """Source, clip, crop, output, container, input and tensors of a network."""
    return json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))


def answer(name):
    return np.load(FOLDER / f"{name}.npy")


def clip(golden):
    """The clip that the network was run on, normalised already."""
    rule = np.random.default_rng(golden["input"]["seed"])
    return rule.standard_normal(golden["input"]["shape"]).astype(np.float32)


def tensors(golden):
    """Arrays by name; some implementations store one array under two names."""
    return {
        name: fill(*(same or [name]), shape, kind) for name, shape, kind, *same in golden["tensors"]
    }


def write(golden, folder, container=None):
    """Writes the file as the implementation stores it, and gives its path."""
    arrays = tensors(golden)
    container = container or golden["container"]
    if container.startswith("pickle"):
        path = folder / f"{golden['name']}.pkl"
        with path.open("wb") as file:
            pickle.dump({"blobs": arrays}, file, protocol=2)
        return path
    import torch

    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    path = folder / f"{golden['name']}.pth"
    if "model_state" in container:
        state = {"model_state": state}
    elif '"state_dict"' in container:
        state = {"state_dict": state, "meta": {}}
    torch.save(state, path)
    return path


_SPREADS = {"weight": (2, 1), "small": (2, 0.1), "head": (1, 1)}


def fill(name, shape, kind):
    rule = np.random.default_rng(zlib.crc32(name.encode()))
    if kind in _SPREADS:
        gain, factor = _SPREADS[kind]
        fan_in = shape[1] if kind == "head" else int(np.prod(shape[1:]))
        array = factor * rule.standard_normal(shape) * np.sqrt(gain / fan_in)
    elif kind == "gamma":
        array = rule.uniform(0.4, 0.8, shape)
    elif kind == "variance":
        array = rule.uniform(0.8, 1.2, shape)
    else:
        array = 0.1 * rule.standard_normal(shape)
    return array.astype(np.float32)


def load(golden, path):
    """The model that a file of a golden network gives."""
    import keras_nonlocal

    return keras_nonlocal.load_checkpoint(
        path,
        golden["source"],
        clip=golden["clip"],
        crop=golden["crop"],
        classifier_activation=None if golden["output"] == "logits" else "softmax",
        include_preprocessing=False,
        **_untold(golden["name"]),
    )


def _untold(name):
    """What the tensors leave open, from the name of a golden network."""
    mode = re.search("dot_product|embedded_gaussian|gaussian|concatenation", name)
    default = "embedded_gaussian" if "_nl" in name else None
    return {"mode": mode[0] if mode else default, "pool2": not re.search("nopool|slow", name)}


if __name__ == "__main__":  # NAME FILE ANSWER: so that another backend can be asked
    described = read(sys.argv[1])
    np.save(sys.argv[3], load(described, sys.argv[2]).predict(clip(described), verbose=0))
