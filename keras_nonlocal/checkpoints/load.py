"""From a published file to a network that is ready to predict."""

import warnings

from keras_nonlocal import preprocessing
from keras_nonlocal.archives import readers
from keras_nonlocal.archives.errors import CheckpointError
from keras_nonlocal.checkpoints import assignment, facts, fetching, hints, zoo
from keras_nonlocal.models import architecture, assembly


def load_checkpoint(
    path,
    source,
    clip="8x8",
    crop=224,
    classifier_activation="softmax",
    classes=None,
    mode=None,
    pool2=None,
    except_for=(),
):
    """Builds the network that a published file holds the weights of, and loads them.

    The network gives the numbers of the implementation that the file came from. Depth, width,
    inflated blocks, non-local blocks, affine norms and classes are read from the tensors. What
    tensors cannot tell follows from `source` and `clip`: paddings, the order of pooling and
    phi and g, the scale of the softmax, steps over frames, groups of frames. Two facts lie in
    neither and can be given: `mode` and `pool2`.

    Args:
        path: path of the file: a Caffe2 pickle (.pkl), a PyTorch file (.pth, .pyth) or
            safetensors, recognised by content. Nothing in it is ever run.
        source: whose file it is: "video-nonlocal-net", "pyslowfast", "pytorchvideo",
            "mmaction2" or "gluoncv".
        clip: frames x stride of the clips that the network was trained on.
        crop: height and width of the clips in pixels; `None` leaves them open.
        classifier_activation: of the head; `None` for logits.
        classes: number of classes of a task of one's own. Other than the file's, the
            classifier starts anew, and a warning says so. `None`: the file's.
        mode: "embedded_gaussian" or "dot_product", which have the same tensors. `None`: as the
            config says that MMAction2 stores in its files, else as the file's name says
            ("dot-product"), else "embedded_gaussian".
        pool2: whether frames are pooled after stage 2. `None`: as the tensors' names say
            (PyTorchVideo), or the stored config, or the file's name ("nopool"); else yes but
            for networks whose late stages alone are inflated.
        except_for: names of tensors or layers of ours to leave out, with `*` for any letters;
            variables without a tensor keep their initial values. `"predictions"` for a file
            without a classifier.

    Returns:
        A functional `keras.Model` from normalised clips to `(batch, classes)`. It remembers
        `source`, `clip` and `class_names`, see `preprocess_input` and `decode_predictions`.

    Raises:
        CheckpointError: a `ValueError`, if the file is broken, would run code, is of another
            source, or does not fit; it lists all names and shapes that do not.

    Example:

    >>> model = keras_nonlocal.load_checkpoint(
    ...     "i3d_nonlocal_8x8_IN_pretrain_400k.pkl", source="video-nonlocal-net"
    ... )  # doctest: +SKIP

    Reference:
        - [video-nonlocal-net](https://github.com/facebookresearch/video-nonlocal-net),
          [PySlowFast](https://github.com/facebookresearch/SlowFast),
          [PyTorchVideo](https://github.com/facebookresearch/pytorchvideo),
          [MMAction2](https://github.com/open-mmlab/mmaction2),
          [GluonCV](https://github.com/dmlc/gluon-cv).
    """
    except_for = (except_for,) if isinstance(except_for, str) else tuple(except_for)
    archive = readers.read_arrays(path)
    layout = assignment.find_layout(archive.arrays, path, source)
    tensors, strangers = assignment.address_tensors(archive.arrays, layout)
    network = facts.read_facts(tensors)
    said = hints.read_hints(path, archive.meta)
    network["mode"] = _settle_mode(network, mode, said["mode"], layout)
    network["pool2"] = _settle_pool2(network, pool2, said["pool2"], layout)
    tensors = assignment.complete(tensors, layout)
    tensors, strangers, out = assignment.leave_out(tensors, strangers, layout, except_for)
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
    frames, _ = architecture.parse_clip(clip)
    model = build_network(
        network,
        source=source,
        clip=clip,
        input_shape=(frames, crop, crop, 3),
        classifier_activation=classifier_activation,
    )
    assignment.assign(
        model,
        tensors,
        layout,
        strangers,
        except_for,
        title=f"{str(path)!r} does not fit the network that its tensors describe.",
    )
    if record := zoo.find_file(path):
        fetching.tell_licence(record.name, record.licence)
    known = network["classes"] == 400 and "predictions/kernel" in tensors
    names = preprocessing.kinetics400_classes() if known else None
    return preprocessing.remember(model, source, clip, names)


def build_network(network, **arguments):
    """Builds the network that has these facts, its kernels to be set.

    Args:
        network: dictionary of `facts.read_facts`, completed by pool2 and mode.
        **arguments: further arguments of `assembly.build_graph`.
    """
    kind = "I3D" if network["inflated"] else "C2D"
    kind = f"NL{kind}" if network["non_local"] else kind
    return assembly.build_graph(kind, **network, **arguments, blank=True)


def _settle_mode(network, given, hinted, layout):
    if not network["non_local"]:
        if given is not None:
            raise CheckpointError(
                f"`mode` is for files with non-local blocks, and this has none. Received: "
                f"mode={given!r}. Leave it out."
            )
        return "embedded_gaussian"
    found = network["mode"]
    possible = (found,) if found else ("embedded_gaussian", "dot_product")
    if given is not None and given not in possible:
        raise CheckpointError(
            f"`mode` must be {' or '.join(map(repr, possible))}: the tensors of the non-local "
            f"blocks are of no other. Received: mode={given!r}."
        )
    mode = given or found or hinted or "embedded_gaussian"
    if mode not in layout.modes:
        raise CheckpointError(
            f"`mode` must be {' or '.join(map(repr, layout.modes))} in files of {layout.name}. "
            f"Received: {mode!r}."
        )
    return mode


def _settle_pool2(network, given, hinted, layout):
    if layout.pool2 is not None:
        if given not in (None, layout.pool2):
            raise CheckpointError(
                f"`pool2` must be {layout.pool2}: the numbers in the tensors' names say so. "
                f"Received: pool2={given}."
            )
        return layout.pool2
    if given is not None:
        return given
    if hinted is not None:
        return hinted
    return not network["inflated"] or any(stage == 2 for stage, _ in network["inflated"])
