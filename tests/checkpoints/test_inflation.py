"""A still clip gives the features of its image, whoever trained the image network."""

import functools
import pickle
import re
import types

import keras
import numpy as np
import pytest

import keras_nonlocal as knl
from keras_nonlocal.checkpoints import transfer
from keras_nonlocal.checkpoints.errors import CheckpointError
from keras_nonlocal.checkpoints.image_networks import read_image_network
from keras_nonlocal.checkpoints.transfer import inflate_weights
from keras_nonlocal.models.config import ResNet3DConfig
from keras_nonlocal.models.video_resnet import VideoInput, config_of, find_input

torch = pytest.importorskip("torch")

DEPTH, WIDTH = (1, 1, 1, 2), 8
# Inflated kernels see beyond the clip's ends; these steps of the last map are far from them.
FRAMES, INNER = 28, slice(5, 9)
BUILDERS = {
    "c2d": (knl.C2D, {}),
    "i3d_3x1x1": (knl.I3D, {}),
    "i3d_3x3x3": (knl.I3D, {"inflation": "3x3x3"}),
    "nl_c2d": (knl.NLC2D, {}),
    "nl_i3d_3x1x1": (knl.NLI3D, {"non_local": 10}),
    "nl_i3d_3x3x3": (knl.NLI3D, {"inflation": "3x3x3", "mode": "dot_product"}),
}
every_builder = pytest.mark.parametrize("builder", BUILDERS)


@functools.cache
def _network(builder, **arguments):
    model = BUILDERS[builder][0](**arguments)
    return model, model.get_weights(), config_of(model)


def build(builder, frames=FRAMES, **arguments):
    """Returns a network of normalized clips as new; tests share those of the same arguments."""
    own = {"include_top": False, "include_preprocessing": False, "source": "torchvision"}
    own |= {"depth": DEPTH, "width": WIDTH, "input_shape": (frames, 64, 64, 3)}
    model, weights, config = _network(builder, **own | BUILDERS[builder][1] | arguments)
    model.set_weights(weights)
    find_input(model).config = config
    return model


class Bottleneck(torch.nn.Module):
    def __init__(self, channels, inner, stride, shortcut):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(channels, inner, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(inner)
        self.conv2 = torch.nn.Conv2d(inner, inner, 3, stride, 1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(inner)
        self.conv3 = torch.nn.Conv2d(inner, 4 * inner, 1, bias=False)
        self.bn3 = torch.nn.BatchNorm2d(4 * inner)
        self.downsample = None
        if shortcut:
            conv = torch.nn.Conv2d(channels, 4 * inner, 1, stride, bias=False)
            self.downsample = torch.nn.Sequential(conv, torch.nn.BatchNorm2d(4 * inner))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + (self.downsample(x) if self.downsample else x))


class ImageNetwork(torch.nn.Module):
    """A 2-D ResNet with torchvision's names."""

    def __init__(self, depth=DEPTH, width=WIDTH, pool1_padding=1):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(width)
        self.pool1 = torch.nn.MaxPool2d(3, 2, pool1_padding)
        channels, blocks = width, []
        for stage, count in enumerate(depth):
            inner = width * 2**stage
            for block in range(count):
                stride = 2 if stage and not block else 1
                blocks.append(Bottleneck(channels, inner, stride, shortcut=not block))
                channels = 4 * inner
            setattr(self, f"layer{stage + 1}", torch.nn.Sequential(*blocks))
            blocks = []
        self.fc = torch.nn.Linear(channels, 10)
        state = self.state_dict()
        self.load_state_dict({name: torch.tensor(fill(name, t.shape)) for name, t in state.items()})
        self.eval()

    def forward(self, x):
        x = self.pool1(torch.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def features(self, image):
        """Of an image (height, width, 3): the last map (height, width, channels)."""
        with torch.no_grad():
            return self(torch.tensor(image).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()


def fill(name, shape):
    """Values of a trained network's size, other ones for each name."""
    random = np.random.default_rng(list(name.encode()))
    if re.search("var|gamma|bn.*weight|downsample.1.weight", name):
        return random.uniform(0.5, 1.5, shape).astype("float32")
    if len(shape) < 2:
        return np.asarray(random.normal(0, 0.3, shape), "float32")
    # Keras puts the output channels last, PyTorch first.
    fan_in = np.prod(shape[:-1] if "kernel" in name else shape[1:])
    return random.normal(0, fan_in**-0.5, shape).astype("float32")


@pytest.fixture(scope="module")
def network():
    return ImageNetwork()


@pytest.fixture
def image():
    return np.random.default_rng(1).standard_normal((64, 64, 3)).astype("float32")


@pytest.fixture
def path(network, tmp_path):
    return save(network.state_dict(), tmp_path / "resnet.pth")


def save(state, path):
    torch.save(state, path)
    return path


def still(image, frames=FRAMES):
    return np.broadcast_to(image, (1, frames, *image.shape))


def arrays_of(state):
    return {name: t.numpy() for name, t in state.items() if "num_batches" not in name}


def caffe2_name(name):
    name = re.sub(r"^fc\.weight", "pred_w", re.sub(r"^fc\.bias", "pred_b", name))
    name = re.sub(r"^conv1\.weight", "conv1_w", re.sub(r"^bn1\.", "res_conv1_bn.", name))
    name = re.sub(r"^layer(\d)\.(\d+)\.", lambda m: f"res{int(m[1]) + 1}_{m[2]}_", name)
    name = re.sub(r"conv(\d)\.weight", lambda m: f"branch2{' abc'[int(m[1])]}_w", name)
    name = re.sub(r"bn(\d)\.", lambda m: f"branch2{' abc'[int(m[1])]}_bn.", name)
    name = name.replace("downsample.0.weight", "branch1_w").replace("downsample.1", "branch1_bn")
    for theirs, ours in (("weight", "s"), ("bias", "b"), ("running_mean", "rm")):
        name = name.replace(f"_bn.{theirs}", f"_bn_{ours}")
    return name.replace("_bn.running_var", "_bn_riv")


def pyslowfast_name(name):
    name = re.sub(r"^fc\.", "head.projection.", name)
    name = re.sub(r"^(conv|bn)1\.", r"s1.pathway0_stem.\1.", name)
    name = re.sub(r"^layer(\d)\.(\d+)", lambda m: f"s{int(m[1]) + 1}.pathway0_res{m[2]}", name)
    name = re.sub(r"\.conv([123])\.", lambda m: f".branch2.{' abc'[int(m[1])]}.", name)
    name = re.sub(r"\.bn([123])\.", lambda m: f".branch2.{' abc'[int(m[1])]}_bn.", name)
    return name.replace("downsample.0", "branch1").replace("downsample.1", "branch1_bn")


def write_pickle(network, path):
    blobs = {caffe2_name(name): a for name, a in arrays_of(network.state_dict()).items()}
    blobs |= {"conv1_w_momentum": np.zeros(1, "float32"), "lr": np.float32(0.1)}
    path.write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))


def write_pyth(network, path, five_axes=False):
    state = {pyslowfast_name(name): t for name, t in network.state_dict().items()}
    if five_axes:
        state = {name: t[:, :, None] if t.ndim == 4 else t for name, t in state.items()}
    save({"model_state": state, "epoch": 90}, path)


def write_safetensors(network, path):
    safetensors = pytest.importorskip("safetensors.numpy")
    safetensors.save_file(arrays_of(network.state_dict()), path)


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def values_of(model):
    return {variable.path: keras.ops.convert_to_numpy(variable) for variable in model.weights}


@every_builder
def test_still_clip_gives_the_features_of_its_image(builder, network, image, path):
    model = build(builder)
    inflate_weights(model, path)
    expected = network.features(image)
    steps = slice(None) if builder.endswith("c2d") else INNER
    for frame in model(still(image))[0][steps]:
        close(frame, expected)


def test_ends_of_a_clip_see_beyond_it(network, image, path):
    model = build("i3d_3x1x1")
    inflate_weights(model, path)
    expected = network.features(image)
    first = np.asarray(model(still(image)))[0, 0]
    assert np.abs(first - expected).max() > 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize("clip", ["32x2", "128x1"])
def test_thinned_clips_give_them_too(clip, network, image, path):
    model = build("nl_c2d", clip=clip)
    inflate_weights(model, path)
    for frame in model(still(image))[0]:
        close(frame, network.features(image))


def test_head_pools_the_features_of_the_image(network, image, path):
    model = build("c2d", frames=4, include_top=True, classes=7)
    inflate_weights(model, path)
    pooled = keras.Model(model.input, model.get_layer("average").output)
    close(np.ravel(pooled(still(image, 4))), network.features(image).mean(axis=(0, 1)))


@pytest.mark.parametrize(
    ("write", "file", "source", "padding"),
    [
        (write_safetensors, "resnet.safetensors", "torchvision", 1),
        (write_pickle, "r50_pretrain.pkl", "video-nonlocal-net", 0),
        (write_pyth, "R50_IN1K.pyth", "pyslowfast", 1),
        (lambda n, p: write_pyth(n, p, five_axes=True), "R50_IN1K.pyth", "pyslowfast", 1),
    ],
    ids=["safetensors", "caffe2", "pyslowfast_2d", "pyslowfast_of_one_frame"],
)
def test_every_file_gives_the_features_of_its_network(
    write, file, source, padding, image, tmp_path
):
    network = ImageNetwork(pool1_padding=padding)
    write(network, tmp_path / file)
    model = build("nl_i3d_3x1x1", source=source)
    inflate_weights(model, tmp_path / file)
    for frame in model(still(image))[0][INNER]:
        close(frame, network.features(image))
    assert model.source == source


def test_affine_norms_take_moving_statistics(network, image, path):
    model = build("nl_i3d_3x1x1", frozen_norm=True)
    inflate_weights(model, path)
    close(model(still(image))[0][6], network.features(image))


def test_blocks_and_classifier_keep_their_values(path):
    model = build("nl_i3d_3x1x1", include_top=True, classes=7, non_local=((3, 0), (4, 0)))
    before = values_of(model)
    kept = inflate_weights(model, path)
    after = values_of(model)
    assert kept == ["res3_0_nonlocal", "res4_0_nonlocal", "predictions"]
    for address, value in before.items():
        assert np.array_equal(value, after[address]) == (address.split("/")[0] in kept), address


def test_model_remembers_the_pixel_range_of_its_weights(path):
    model = build("c2d", source="video-nonlocal-net")
    inflate_weights(model, path)
    frame = np.random.default_rng(2).integers(0, 256, (1, 64, 64, 3), "uint8")
    mean, deviation = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    expected = (frame / np.float32(255) - mean) / deviation
    np.testing.assert_allclose(knl.preprocess_input(frame, model), expected, rtol=1e-5, atol=1e-6)


def test_authors_network_differs_by_its_pooling_alone(network, image, path):
    model = build("c2d", frames=4, source="video-nonlocal-net")
    inflate_weights(model, path)
    close(model(still(image, 4))[0][0], ImageNetwork(pool1_padding=0).features(image))


@pytest.fixture(scope="module")
def resnet():
    model = keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3), classes=5)
    for variable in model.weights:
        variable.assign(fill(variable.path, variable.shape))
    return model


@pytest.fixture(scope="module")
def features(resnet):
    return keras.Model(resnet.input, resnet.get_layer("conv5_block3_out").output)


@pytest.fixture
def frame():
    return np.random.default_rng(3).integers(0, 256, (64, 64, 3), "uint8")


def test_pixels_give_the_same_features(resnet, features, frame):
    model = build("c2d", 4, depth=50, width=64, source="keras-applications")
    inflate_weights(model, resnet)
    pixels = keras.applications.resnet.preprocess_input(frame[None].astype("float32"))
    maps = np.asarray(model(knl.preprocess_input(still(frame, 4), model)))[0]
    close(maps[1], features(pixels)[0])


def test_small_variances_meet_the_larger_epsilon(resnet):
    norm = resnet.get_layer("conv1_bn")
    before = norm.get_weights()
    variance = fill("moving_variance", (64,)) * np.float32(1e-9)
    norm.set_weights([*before[:3], variance])
    ours = read_image_network(resnet).tensors["conv1_norm/moving_variance"]
    norm.set_weights(before)
    # As if both sums were taken without rounding.
    np.testing.assert_allclose(np.float64(ours) + 1e-5, np.float64(variance) + 1.001e-5, rtol=1e-10)


def test_imagenet_weights_fill_a_builder(resnet, monkeypatch):
    calls = []

    def offline(**arguments):
        calls.append(arguments)
        return resnet

    monkeypatch.setattr(keras.applications, "ResNet50", offline)
    model = knl.NLI3D(
        depth=[3, 4, 6, 3],
        weights="imagenet",
        input_shape=(8, 64, 64, 3),
        classes=3,
        clip="32x4",
        width=64,
    )
    assert calls == [{"weights": "imagenet", "include_top": False}]
    # Keras' network takes blue, green, red.
    stem = np.array(resnet.get_layer("conv1_conv").kernel)[:, :, ::-1]
    np.testing.assert_allclose(model.get_layer("conv1_conv").kernel[4], stem / 5, rtol=1e-6)
    assert model.get_layer("res3_0_a_conv").strides == (1, 2, 2)
    assert (model.source, model.clip) == ("keras-applications", "32x4")
    assert model.output_shape == (None, 3)


def test_stride_place_must_agree(resnet):
    with pytest.raises(CheckpointError, match="Build the model with source='keras-appl"):
        inflate_weights(build("c2d"), resnet)


def test_version_2_is_refused():
    inputs = keras.Input((8, 8, 3))
    # The last norm of ResNet50V2, and none of version 1.
    v2 = keras.Model(inputs, keras.layers.BatchNormalization(name="post_bn")(inputs))
    with pytest.raises(CheckpointError, match="a ResNet of version 2"):
        inflate_weights(build("c2d", source="keras-applications"), v2)


def test_other_keras_models_are_refused():
    inputs = keras.Input((8, 8, 3))
    other = keras.Model(inputs, keras.layers.Conv2D(4, 3, name="first")(inputs), name="mine")
    with pytest.raises(CheckpointError, match="the model 'mine' is not a ResNet.*begin 'first'"):
        inflate_weights(build("c2d"), other)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("depth", (1, 1, 1, 1)),
        ("width", 32),
        ("source", "torchvision"),
        ("source", "video-nonlocal-net"),
    ],
)
def test_imagenet_fixes_arguments(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be .* with weights='imagenet'"):
        knl.I3D(**{"weights": "imagenet", argument: value})


def test_imagenet_without_a_network_says_what_to_download(monkeypatch):
    def offline(**arguments):
        raise Exception("URL fetch failure on storage")

    monkeypatch.setattr(keras.applications, "ResNet101", offline)
    monkeypatch.setenv("KERAS_HOME", "home")
    config = ResNet3DConfig(101, source="keras-applications")
    layer = VideoInput(config)
    words = "ResNet101 could not be downloaded: URL fetch failure.*Download http.*/resnet101_.*h5 "
    with pytest.raises(CheckpointError, match=words + "by hand and put it at home/models/resnet1"):
        transfer.inflate_imagenet(types.SimpleNamespace(layers=[layer]))


def _rename(state):
    state["layer2.0.convolution2.weight"] = state.pop("layer2.0.conv2.weight")


def _cut(state):
    state["bn1.bias"] = state["bn1.bias"][:5]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            _rename,
            ["keys in the image network: layer2.0.convolution2.weight", "keys: layer2.0.conv2.w"],
        ),
        (lambda state: state.pop("bn1.running_mean"), ["1 missing keys: bn1.running_mean"]),
        (
            lambda state: state.update({"layer1.0.se.fc1.weight": torch.ones(2, 2)}),
            [r"1 unexpected keys in the image network: layer1.0.se.fc1.weight \(2, 2\)"],
        ),
        (_cut, [r"bn1.bias \(5,\) against \(8,\)"]),
        (
            lambda state: state.update({"conv1.weight": torch.ones(8, 3, 5, 5)}),
            [r"conv1.weight \(1, 5, 5, 3, 8\) against \(5, 7, 7, 3, 8\)"],
        ),
    ],
    ids=["renamed", "missing", "extra", "cut", "other_kernel"],
)
def test_faults_are_listed_and_nothing_changes(change, words, network, tmp_path):
    state = dict(network.state_dict())
    change(state)
    model = build("i3d_3x1x1")
    before = values_of(model)
    with pytest.raises(CheckpointError) as error:
        inflate_weights(model, save(state, tmp_path / "resnet.pth"))
    for word in words:
        assert re.search(word, str(error.value))
    assert all(np.array_equal(before[address], v) for address, v in values_of(model).items())


def test_deep_stem_is_refused(network, tmp_path):
    state = dict(network.state_dict())
    state["conv1.0.weight"] = state.pop("conv1.weight")
    with pytest.raises(CheckpointError, match="a deep stem"):
        inflate_weights(build("c2d"), save(state, tmp_path / "resnet50d.pth"))


def test_other_names_are_refused(tmp_path):
    path = save({"stages.0.blocks.0.norm1.weight": torch.ones(2)}, tmp_path / "v2.pth")
    with pytest.raises(CheckpointError, match="no tensor names of a supported ResNet.*version 2"):
        inflate_weights(build("c2d"), path)


@pytest.mark.parametrize(
    "spread",
    [
        lambda a: {n: t[:, :, None].repeat(5, 2) if n == "conv1_w" else t for n, t in a.items()},
        lambda a: {n: t[:, :, None] if t.ndim == 4 else t for n, t in a.items()},
        lambda a: {**a, "nonlocal_conv3_0_g_b": np.ones(4, "float32")},
    ],
    ids=["i3d", "c2d", "non_local"],
)
def test_networks_for_clips_are_sent_to_load_checkpoint(spread, network, tmp_path):
    blobs = {caffe2_name(name): a for name, a in arrays_of(network.state_dict()).items()}
    path = tmp_path / "kinetics.pkl"
    path.write_bytes(pickle.dumps({"blobs": spread(blobs)}, protocol=2))
    with pytest.raises(CheckpointError, match="a video network, .*keras_nonlocal.load_check"):
        inflate_weights(build("i3d_3x1x1"), path)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("backbone.conv1.conv.weight", (8, 3, 7, 7)),
        ("s1.pathway0_stem.conv.weight", (8, 3, 5, 7, 7)),
    ],
    ids=["format_of_clips", "kernel_over_frames"],
)
def test_other_signs_of_clips_are_seen(name, shape, tmp_path):
    path = save({name: torch.ones(shape)}, tmp_path / "clips.pth")
    with pytest.raises(CheckpointError, match="a video network"):
        inflate_weights(build("c2d"), path)


@pytest.mark.parametrize(
    ("model", "weights", "words"),
    [
        (keras.Sequential, "resnet.pth", "`model` must be a network of C2D, I3D, NLC2D or NLI3D"),
        (lambda: build("c2d"), 5, "`weights` must be the path of a file, or a model.*int"),
    ],
    ids=["model", "weights"],
)
def test_arguments_are_checked(model, weights, words):
    with pytest.raises(ValueError, match=words):
        inflate_weights(model(), weights)
