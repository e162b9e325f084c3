"""Makes golden numbers from other implementations. Run by hand, in an environment of its own.

    pip install torch numpy opencv-python-headless einops addict yapf rich termcolor pyyaml yacs
    pip install simplejson parameterized networkx scipy matplotlib pandas autocfg psutil tabulate
    pip install --no-deps fvcore==0.1.5.post20221221 iopath==0.1.10 pytorchvideo==0.1.5
    pip install --no-deps mmaction2==1.2.0 mmcv-lite==2.1.0 mmengine==0.10.7
    pip install --no-deps gluoncv==0.10.5.post0 pyslowfast==1.0
    python tests/checkpoints/make_golden.py OUT {gluoncv,mmaction2,pyslowfast,pytorchvideo}

What these packages import for other ends (decoders, detectors, older frameworks) is stood in
for by empty modules. Existing files are kept.
"""

import argparse
import contextlib
import gzip
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import pathlib
import sys
import types

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import golden

ABSENT = ("decord", "detectron2", "torchvision", "submitit", "vision", "pycocotools")
BLOCKS = ((1, 1, 1), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 1, 0))
BLOCKS_101 = (*BLOCKS[:2], tuple(i % 2 ^ 1 for i in range(23)), BLOCKS[3])
FIVE = ((0, 0, 0), (0, 1, 0, 1), (0, 1, 0, 1, 0, 1), (0, 0, 0))
TEN = ((0, 0, 0), (1, 1, 1, 1), (1, 1, 1, 1, 1, 1), (0, 0, 0))
FIVE_101 = (*FIVE[:2], tuple(int(i in (6, 13, 20)) for i in range(23)), FIVE[3])
MODEL_STATE = 'torch.save of {"model_state": state_dict}'


class _StandIn(types.ModuleType):
    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__init__": lambda self, *args, **kwargs: None})


class _Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ABSENT:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return _StandIn(spec.name)

    def exec_module(self, module):
        pass


def pytorchvideo():
    """Networks of PyTorchVideo's hub, and two of its builder."""
    from pytorchvideo.models.hub import resnet as hub
    from pytorchvideo.models.resnet import create_resnet

    i3d = {
        "stem_conv_kernel_size": (5, 7, 7),
        "stage1_pool": nn.MaxPool3d,
        "stage_conv_a_kernel_size": (
            (3, 1, 1),
            [(3, 1, 1), (1, 1, 1)],
            [(3, 1, 1), (1, 1, 1)],
            [(1, 1, 1), (3, 1, 1)],
        ),
    }
    softmax = create_resnet(model_depth=50, head_activation=nn.Softmax, **i3d)
    yield "ptv_c2d_r50_8x8", hub.c2d_r50(pretrained=False), {}
    yield "ptv_slow_r50_8x8_crop256", hub.slow_r50(pretrained=False), {"crop": 256}
    yield "ptv_i3d_r101_8x8", create_resnet(model_depth=101, **i3d), {}
    facts = {"crop": 288, "output": "mean of softmax"}
    yield "ptv_i3d_r50_8x8_crop288_softmax", softmax, facts


def pyslowfast():
    """Networks of PySlowFast."""
    builder = _import_twice("slowfast.models.video_model_builder")
    from slowfast.config.defaults import get_cfg

    def network(arch, depth=50, places=((), (), (), ()), frames=8, mode="softmax", head=None):
        config = get_cfg()
        config.MODEL.ARCH = arch
        config.RESNET.DEPTH = depth
        config.RESNET.NUM_BLOCK_TEMP_KERNEL = [[3], [4], [6], [3]]
        config.DATA.NUM_FRAMES = frames
        config.DATA.INPUT_CHANNEL_NUM = [3]
        config.NONLOCAL.LOCATION = [[list(stage)] for stage in places]
        config.NONLOCAL.GROUP = [[1]] * 4
        config.NONLOCAL.INSTANTIATION = mode
        model = builder.ResNetModel(config)
        if head is None:
            model.head.act = nn.Identity()
        return model

    five = ((), (1, 3), (1, 3, 5), ())
    fully = {"clip": "16x4", "crop": 256, "output": "mean of softmax"}
    yield "psf_c2d_r50_8x8", network("c2d"), {}
    yield "psf_c2d_nopool_r50_8x8", network("c2d_nopool"), {}
    yield "psf_slow_r50_8x8", network("slowonly"), {}
    yield "psf_i3d_nl_r101_8x8", network("i3d", 101, five), {}
    yield "psf_i3d_nl_dot_product_r50_8x8", network("i3d", places=five, mode="dot_product"), {}
    yield "psf_i3d_nl_r50_16x4_crop256", network("i3d", 50, five, 16, head="softmax"), fully
    yield "psf_i3d_nl_r50_32x2", network("i3d", places=five, frames=32), {"clip": "32x2"}


def gluoncv():
    """Networks of GluonCV's torch registry."""
    for name in ("gluoncv", "gluoncv.torch", "gluoncv.torch.model_zoo", "gluoncv.torch.utils"):
        _empty_package(name)
    _empty_package("gluoncv.torch.model_zoo.action_recognition")
    network = importlib.import_module(
        "gluoncv.torch.model_zoo.action_recognition.i3d_resnet"
    ).I3D_ResNetV1
    network.inflate_weights = lambda self: None
    i3d = {"num_classes": 400, "out_indices": [3], "bn_eval": False}
    r50 = {**i3d, "depth": 50, "inflate_freq": BLOCKS}
    r101 = {**i3d, "depth": 101, "inflate_freq": BLOCKS_101}
    local = {"nonlocal_stages": (1, 2), "nonlocal_cfg": {"nonlocal_type": "gaussian"}}
    dense = {"clip": "32x2"}
    yield "gcv_i3d_r50_32x2_crop256", network(**r50), {**dense, "crop": 256}
    yield "gcv_i3d_nl10_r50_32x2", network(**r50, **local, nonlocal_freq=TEN), dense
    yield "gcv_i3d_nl5_r101_32x2", network(**r101, **local, nonlocal_freq=FIVE_101), dense


def mmaction2():
    """Backbones of MMAction2 with the classifier of its heads."""
    _import_twice("mmaction.models.backbones.resnet3d")
    from mmaction.models.backbones import C2D, ResNet, ResNet3d, ResNet3dSlowOnly

    class Recognizer(nn.Module):
        def __init__(self, backbone, frames_alone=False):
            super().__init__()
            self.backbone = backbone
            self.cls_head = nn.Module()
            self.cls_head.fc_cls = nn.Linear(2048, 400)
            self.frames_alone = frames_alone

        def forward(self, x):
            if self.frames_alone:
                frames = x.transpose(1, 2).flatten(0, 1)
                features = self.backbone(frames).mean((2, 3)).mean(0, keepdim=True)
            else:
                features = self.backbone(x).mean((2, 3, 4))
            return self.cls_head.fc_cls(features)

    def local(mode, places=FIVE, scale=False):
        options = {"sub_sample": True, "use_scale": scale, "norm_cfg": {"type": "BN3d"}}
        return {"non_local": places, "non_local_cfg": {**options, "mode": mode}}

    def i3d(**changes):
        facts = {
            "depth": 50,
            "conv1_kernel": (5, 7, 7),
            "conv1_stride_t": 2,
            "pool1_stride_t": 2,
            "conv_cfg": {"type": "Conv3d"},
            "inflate": BLOCKS,
        }
        return Recognizer(ResNet3d(**{**no_weights, "pretrained2d": False, **facts, **changes}))

    no_weights = {"pretrained": None, "norm_eval": False}
    dense = {"clip": "32x2"}
    heavy = {"inflate": (1, 1, 1, 1), "conv1_stride_t": 1, "pool1_stride_t": 1}
    slow = ResNet3dSlowOnly(
        depth=50,
        lateral=False,
        conv1_kernel=(1, 7, 7),
        conv1_stride_t=1,
        pool1_stride_t=1,
        inflate=(0, 0, 1, 1),
        pretrained2d=False,
        **no_weights,
        **local(
            "embedded_gaussian", ((0, 0, 0), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 0, 0)), True
        ),
    )
    c2d = {"depth": 50, **no_weights}
    yield "mma_i3d_nl_gaussian_r50_32x2", i3d(**local("gaussian")), dense
    yield "mma_i3d_nl_concatenation_r50_16x4", i3d(**local("concatenation")), {"clip": "16x4"}
    yield "mma_i3d_r50_32x2_crop256", i3d(), {**dense, "crop": 256}
    yield "mma_i3d_3x3x3_r50_32x2", i3d(inflate_style="3x3x3"), dense
    yield "mma_i3d_r101_32x2", i3d(depth=101, inflate=BLOCKS_101), dense
    yield "mma_i3d_heavy_r50_32x2", i3d(**heavy), dense
    yield "mma_slowonly_nl_r50_4x16", Recognizer(slow), {"clip": "4x16"}
    yield "mma_c2d_r50_8x8", Recognizer(C2D(**c2d)), {}
    yield "mma_c2d_r50_16x4_crop256", Recognizer(C2D(**c2d)), {"clip": "16x4", "crop": 256}
    yield "mma_c2d_nopool_r50_8x8", Recognizer(ResNet(**c2d), frames_alone=True), {}


def write(folder, name, model, source, container, clip="8x8", crop=224, output="logits"):
    """Fills a model by rule, runs it on a clip by rule, and writes what it is and answers."""
    model.eval()
    rows, first = [], {}
    for key, tensor in model.state_dict().items():
        if key.endswith("num_batches_tracked"):
            continue
        shape = list(tensor.shape)
        row = [key, shape, _kind(key, shape)]
        if (same := first.setdefault((tensor.data_ptr(), *shape), key)) != key:
            row.append(same)
        rows.append(row)
        tensor.copy_(torch.from_numpy(golden.fill(same, shape, row[2])))
    frames = int(clip.split("x")[0])
    facts = {
        "name": name,
        "clip": clip,
        "crop": crop,
        "output": output,
        "source": source,
        "container": container,
        "input": {"seed": 1, "shape": [1, frames, crop, crop, 3]},
        "tensors": rows,
    }
    x = torch.from_numpy(golden.clip(facts)).permute(0, 4, 1, 2, 3).contiguous()
    answer = model([x] if source == "pyslowfast" else x).numpy().reshape(1, -1)
    text = json.dumps(facts, separators=(",", ":")).encode()
    (folder / f"{name}.json.gz").write_bytes(gzip.compress(text, 9, mtime=0))
    np.save(folder / f"{name}.npy", answer)


def _kind(name, shape):
    for end, kind in (("running_mean", "mean"), ("running_var", "variance")):
        if name.endswith(end):
            return kind
    if len(shape) == 2:
        return "head"
    if len(shape) > 2:
        return "small" if "non_local" in name or "nonlocal" in name else "weight"
    return "bias" if name.endswith("bias") else "gamma"


def _import_twice(name):
    # The first time stumbles over a room of the package that the wheel lacks.
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
    return importlib.import_module(name)


def _empty_package(name):
    """Enters a package without running its start-up code, which asks for older frameworks."""
    spec = importlib.machinery.PathFinder.find_spec(
        name.rpartition(".")[2],
        sys.modules[name.rpartition(".")[0]].__path__ if "." in name else None,
    )
    module = types.ModuleType(name)
    module.__path__ = list(spec.submodule_search_locations)
    sys.modules[name] = module


SOURCES = {
    "gluoncv": (gluoncv, "torch.save of state_dict"),
    "mmaction2": (mmaction2, 'torch.save of {"state_dict": state_dict, "meta": {}}'),
    "pyslowfast": (pyslowfast, MODEL_STATE),
    "pytorchvideo": (pytorchvideo, MODEL_STATE),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("source", choices=SOURCES)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    sys.meta_path.append(_Absent())
    torch.set_grad_enabled(False)
    networks, container = SOURCES[arguments.source]
    for name, model, facts in networks():
        if not (arguments.out / f"{name}.npy").exists():
            write(arguments.out, name, model, arguments.source, container, **facts)
