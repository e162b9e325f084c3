"""Networks are written as the calls that make them, in the fewest words."""

import pytest

import keras_nonlocal as knl
from keras_nonlocal.commands import calls
from keras_nonlocal.models.video_resnet import config_of

CALLS = (
    'knl.C2D(source="pyslowfast", width=4, pool2=False)',
    'knl.I3D(width=4, inflated="late")',
    'knl.I3D(width=4, inflation="3x3x3", inflated="all", frozen_norm=True)',
    "knl.I3D(depth=(1, 2, 2, 1), width=4, inflated=((2, 0), (4, 1)))",
    'knl.NLC2D(clip="32x2", classes=7, width=4, non_local=10)',
    "knl.NLI3D(width=4, non_local=1)",
    'knl.NLI3D(depth=(1, 2, 2, 1), width=4, non_local=((3, 1),), mode="gaussian")',
    'knl.C2D(width=4, include_top=False, pooling="max")',
)


@pytest.mark.parametrize("call", CALLS)
def test_the_call_that_made_a_network_is_written(call):
    model = eval(call, {"knl": knl})
    written = calls.write_builder_call(config_of(model))
    again = eval(written, {"knl": knl})
    assert sorted(written[:-1].replace("(", ", ", 1).split(", ")) == sorted(
        call[:-1].replace("(", ", ", 1).split(", ")
    )
    assert [layer.get_config() for layer in again.layers] == [
        layer.get_config() for layer in model.layers
    ]
