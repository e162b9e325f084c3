"""From a published file to a network that is ready to predict."""

import warnings

from keras_nonlocal import preprocessing
from keras_nonlocal.checkpoints import assignment, download, inspection, registry
from keras_nonlocal.layers.backend import check_positive_int
from keras_nonlocal.models.config import ResNet3DConfig, parse_clip
from keras_nonlocal.models.video_resnet import build_network


def load_checkpoint(
    path,
    source=None,
    clip=None,
    mode=None,
    crop=224,
    classes=None,
    classifier_activation="softmax",
    pool2=None,
    except_for=(),
):
    """Builds the network whose weights a published file holds, and loads them.

    The network returns the numbers of the implementation that the file came from. Depth, width,
    inflated blocks, non-local blocks, affine norms and classes are read from the tensors. What
    tensors cannot tell follows from `source` and `clip`: paddings, the order of pooling and
    phi and g, the scale of the softmax, steps over frames, groups of frames.

    `source`, `clip`, `mode` and `pool2` are found where the names of the tensors tell them, where
    the file is a published one of `keras_nonlocal.list_weights()` under its own name, and in the
    config that MMAction2 and PySlowFast store. Otherwise they must be given. The name of any other
    file tells nothing.

    Args:
        path: path of the file: a Caffe2 pickle (.pkl), a PyTorch file (.pth, .pyth) or
            safetensors, recognized by content. Nothing in it is ever run. A prefix that a
            training framework put before the names ("module.", "model.") is taken off.
        source: whose file it is: "video-nonlocal-net", "pyslowfast", "pytorchvideo",
            "mmaction2" or "gluoncv".
        clip: frames x stride of the clips that the network was trained on, such as "8x8".
        mode: "embedded_gaussian" or "dot_product", which have the same tensors.
        crop: height and width of the clips in pixels; `None` leaves them open.
        classes: number of classes of a task of your own. Other than the file's, the
            classifier starts anew, with a warning. `None`: the file's.
        classifier_activation: of the head; `None` for logits.
        pool2: whether frames are pooled after stage 2.
        except_for: names of tensors or layers of ours to leave out, with `*` for any letters;
            variables without a tensor keep their initial values. `"predictions"` for a file
            without a classifier.

    Returns:
        A `VideoResNet` from clips to `(batch, classes)`, with `source`, `clip` and `class_names`.

    Raises:
        CheckpointError: a `ValueError`, if the file is broken, would run code, is of another
            source, holds NaN, or does not fit; it lists all names and shapes that do not. Also if
            an argument is neither told nor given, or contradicts what is told.

    Example:

    >>> model = keras_nonlocal.load_checkpoint(
    ...     "i3d_nonlocal_8x8_IN_pretrain_400k.pkl"
    ... )  # doctest: +SKIP

    Reference:
        - [video-nonlocal-net](https://github.com/facebookresearch/video-nonlocal-net),
          [PySlowFast](https://github.com/facebookresearch/SlowFast),
          [PyTorchVideo](https://github.com/facebookresearch/pytorchvideo),
          [MMAction2](https://github.com/open-mmlab/mmaction2),
          [GluonCV](https://github.com/dmlc/gluon-cv).
    """
    except_for = (except_for,) if isinstance(except_for, str) else tuple(except_for)
    if crop is not None:
        crop = check_positive_int("crop", crop)
    if classes is not None:
        classes = check_positive_int("classes", classes)
    findings = inspection.inspect_file(path)
    layout = findings.layout
    assignment.check_layout(layout, findings.state_dict.tensors, path, source)
    if findings.fault is not None:
        raise findings.fault
    told = inspection.resolve(findings, source=source, clip=clip, mode=mode, pool2=pool2)
    source, clip = told.pop("source"), told.pop("clip")
    network = {**findings.network, **told}
    tensors = assignment.complete(findings.tensors, layout)
    tensors, strangers, out = assignment.leave_out(tensors, findings.strangers, layout, except_for)
    except_for = (*except_for, *out)
    held = network["classes"]
    network["classes"] = classes if classes is not None else held if held is not None else 400
    if held is not None and network["classes"] != held:
        warnings.warn(
            f"The classifier starts anew: {str(path)!r} has {held} classes, classes={classes} "
            "was given. All else is loaded.",
            stacklevel=2,
        )
        tensors = {a: t for a, t in tensors.items() if not a.startswith("predictions/")}
        except_for = (*except_for, "predictions")
    frames, _ = parse_clip(clip)
    known = network["classes"] == 400 and "predictions/kernel" in tensors
    config = ResNet3DConfig(
        **network,
        source=source,
        clip=clip,
        input_shape=(frames, crop, crop, 3),
        classifier_activation=classifier_activation,
        class_names=preprocessing.kinetics400_classes() if known else None,
        weights=str(path),
    )
    model = build_network(config, initialize=False)
    assignment.assign(
        model,
        tensors,
        layout,
        strangers,
        except_for,
        title=f"{str(path)!r} does not fit the network that its tensors describe.",
    )
    if record := registry.find_file(path):
        download.tell_licence(record.name, record.licence)
    return model
