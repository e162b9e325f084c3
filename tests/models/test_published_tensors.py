"""The variables of each network against the tensors of the implementation that it follows."""

import collections
import json
import pathlib

import pytest

import keras_nonlocal as knl

PUBLISHED = json.loads(pathlib.Path(__file__).with_name("published_tensors.json").read_text())
VNL, PSF = {"source": "video-nonlocal-net"}, {"source": "pyslowfast"}
MMA = {"source": "mmaction2", "clip": "32x2"}
BUILDERS = {
    "vnl_c2d_r50_8x8": (knl.C2D, VNL),
    "vnl_i3d_nl_r50_8x8": (knl.NLI3D, VNL),
    "vnl_i3d_nl_r50_32x2": (knl.NLI3D, {**VNL, "clip": "32x2"}),
    "vnl_i3d_nl_r50_32x4_affine": (knl.NLI3D, {**VNL, "clip": "32x4", "frozen_norm": True}),
    "psf_i3d_r50_8x8": (knl.I3D, PSF),
    "psf_i3d_nl_r50_8x8": (knl.NLI3D, PSF),
    "ptv_i3d_r50_8x8": (knl.I3D, {"source": "pytorchvideo"}),
    "mma_i3d_r50_32x2": (knl.I3D, MMA),
    "mma_i3d_nl_dot_product_r50_32x2": (knl.NLI3D, {**MMA, "mode": "dot_product"}),
    "mma_i3d_nl_embedded_gaussian_r50_32x2": (knl.NLI3D, MMA),
    "gcv_i3d_nl5_r50_32x2": (knl.NLI3D, {"source": "gluoncv", "clip": "32x2"}),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_variables_have_the_shapes_of_the_published_tensors(name):
    builder, arguments = BUILDERS[name]
    model = builder(**arguments)
    ours = collections.Counter()
    for variable in model.weights:
        if arguments.get("frozen_norm") and variable.name.startswith("moving_"):
            continue  # The affine form is published as gamma and beta alone.
        if arguments["source"] == "mmaction2" and variable.path.endswith("out/bias"):
            continue  # MMAction2 leaves this bias to the norm behind it.
        ours["x".join(map(str, variable.shape))] += 1
    assert ours == PUBLISHED[name]
