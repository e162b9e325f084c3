"""Small networks of every kind that the sources publish, with distinct values everywhere."""

import dataclasses
import functools

import numpy as np

import keras_nonlocal as knl
from keras_nonlocal.models.video_resnet import build_network, find_input
from tests.subjects import fill

_SMALL = {"depth": (1, 2, 1, 1), "width": 8, "classes": 5, "dropout": 0.0}
VNL, PSF, PTV = "video-nonlocal-net", "pyslowfast", "pytorchvideo"
MMA, GCV = "mmaction2", "gluoncv"

# name: (builder, source, file, arguments)
KINDS = {
    "vnl_c2d": (knl.C2D, VNL, "a.pkl", {}),
    "vnl_nlc2d_32x2": (knl.NLC2D, VNL, "a.pkl", {"clip": "32x2"}),
    "vnl_i3d_affine": (knl.I3D, VNL, "a.pkl", {"clip": "32x4", "frozen_norm": True}),
    "vnl_nli3d_affine": (knl.NLI3D, VNL, "a.pkl", {"clip": "32x4", "frozen_norm": True}),
    "vnl_nli3d_3x3x3": (knl.NLI3D, VNL, "a.pkl", {"inflation": "3x3x3"}),
    "psf_nli3d_caffe2": (knl.NLI3D, PSF, "a.pkl", {}),
    "psf_nli3d_dot_product": (knl.NLI3D, PSF, "a.pyth", {"mode": "dot_product"}),
    "psf_c2d_without_pool2": (knl.C2D, PSF, "a.pyth", {"pool2": False}),
    "psf_slow": (knl.I3D, PSF, "a.pyth", {"inflated": "late", "pool2": False}),
    "ptv_i3d": (knl.I3D, PTV, "a.pyth", {}),
    "ptv_slow": (knl.I3D, PTV, "a.pyth", {"inflated": "late", "pool2": False}),
    "mma_c2d": (knl.C2D, MMA, "a.pth", {}),
    "mma_c2d_without_pool2": (knl.C2D, MMA, "a.pth", {"pool2": False}),
    "mma_heavy": (knl.I3D, MMA, "a.pth", {"inflated": "all"}),
    "mma_nli3d": (knl.NLI3D, MMA, "a.pth", {}),
    "mma_nli3d_gaussian": (knl.NLI3D, MMA, "a.pth", {"mode": "gaussian"}),
    "mma_nli3d_dot_product": (knl.NLI3D, MMA, "a.pth", {"mode": "dot_product"}),
    "mma_nli3d_concatenation": (knl.NLI3D, MMA, "a.pth", {"mode": "concatenation"}),
    "gcv_nli3d": (knl.NLI3D, GCV, "a.pth", {"clip": "32x2", "non_local": [(3, 0), (3, 1)]}),
    "own_places": (knl.I3D, PSF, "a.pyth", {"inflated": [(2, 0), (3, 1)]}),
}


@functools.cache
def make(name, seed=0):
    """The network of a kind, for normalized clips of 64x64. Tests do not change it."""
    builder, source, _, arguments = KINDS[name]
    frames = int(arguments.get("clip", "8x8").split("x")[0])
    arguments = {"include_preprocessing": False, **_SMALL, **arguments}
    return fill(builder(source=source, input_shape=(frames, 64, 64, 3), **arguments), seed)


def save(name, folder, seed=0):
    """The network of a kind, and the file that it was saved as."""
    model, path = make(name, seed), folder / KINDS[name][2]
    knl.save_checkpoint(model, path)
    return model, path


def clip_for(model, seed=3):
    """A random clip, normalised already."""
    shape = (1, *model.input_shape[1:])
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


@functools.cache
def _build_once(config):
    model = build_network(config, initialize=False)
    return model, model.get_weights()


def build_again(config, name=None, inputs=None, initialize=True):
    """In place of `build_network`: one network for each configuration, as new at each call."""
    model, weights = _build_once(dataclasses.replace(config, weights=None))
    model.set_weights(weights)
    find_input(model).config = config
    return model
