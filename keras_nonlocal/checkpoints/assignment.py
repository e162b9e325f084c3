"""Strict, all-or-nothing loading of a state dict."""

import collections
import fnmatch

import numpy as np

from keras_nonlocal.checkpoints import kernels, rules, state_dict
from keras_nonlocal.checkpoints.errors import CheckpointError

_SHOWN = 12


def load_file(model, path, source, kept=()):
    """Sets the variables of a model from a published file.

    Args:
        model: network of one of the builders, with or without its head.
        path: path of the file.
        source: implementation that wrote the file.
        kept: names of layers that keep their values.

    Raises:
        CheckpointError: if the file is broken or does not fit; the model is unchanged.
    """
    layout, arrays = recognise(state_dict.read_state_dict(path).tensors)
    check_layout(layout, arrays, path, source)
    tensors, strangers = address_tensors(arrays, layout)
    tensors = complete(tensors, layout)
    if all(layer.name != "predictions" for layer in model.layers):
        kept = (*kept, "predictions")
    tensors, strangers, _ = leave_out(tensors, strangers, layout, kept)
    title = f"{str(path)!r} does not fit {model.name}."
    assign(model, tensors, layout, strangers, kept, title=title)


def recognise(arrays):
    """Finds out whose names the tensors have.

    A prefix that a training framework puts before the names ("module.", "model.", "_orig_mod.")
    is taken off where that makes them known.

    Args:
        arrays: arrays by the names of the file.

    Returns:
        The `Layout`, `None` if no name is known, and the arrays by names without the prefix.

    Raises:
        CheckpointError: if two names are the same without the prefix.
    """
    layout, prefix = rules.recognise(arrays)
    renamed = {name.removeprefix(prefix): array for name, array in arrays.items()}
    if len(renamed) < len(arrays):
        twice = next(name for name in arrays if name != prefix + name and prefix + name in arrays)
        raise CheckpointError(
            f"The file contains {twice!r} and {prefix + twice!r}, of which one is loaded. Save "
            "them in two files."
        )
    return layout, renamed


def check_layout(layout, arrays, path, source):
    """Raises if the names of a file are unknown, or not those of `source`, if that is given."""
    if source is not None and source not in rules.SOURCES:
        raise CheckpointError(
            f"`source` must be one of {', '.join(map(repr, rules.SOURCES))}. "
            f"Received: source={source!r}."
        )
    if layout is None:
        raise CheckpointError(
            f"{str(path)!r} contains no tensor names of a supported implementation "
            f"({', '.join(rules.SOURCES)}). Found {len(arrays)} tensors: "
            f"{_listing(sorted(arrays), 4)}."
        )
    if not layout.flat_c2d and any(array.ndim == 4 for array in arrays.values()):
        raise CheckpointError(
            f"{str(path)!r} holds a network for images ({layout.name} names, 2-D kernels). Build a "
            "network for clips and call inflate_weights(model, path)."
        )
    if layout is rules.TORCHVISION:
        raise CheckpointError(
            f"{str(path)!r} has torchvision's names, but kernels that span frames, and no source "
            f"here names such files so. Sources are {', '.join(map(repr, rules.SOURCES))}."
        )
    if source is not None and source not in layout.sources:
        raise CheckpointError(
            f"{str(path)!r} looks like a file of {' or '.join(layout.sources)} ({layout.name} "
            f"names); source={source!r} was given. Pass source={layout.sources[0]!r}."
        )


def address_tensors(arrays, layout):
    """Sorts the tensors of a file by where they belong.

    Args:
        arrays: arrays by name.
        layout: the `Layout` of the file.

    Returns:
        Arrays by address, in the axis order of Keras; and the names that belong nowhere.

    Raises:
        CheckpointError: if two names of one tensor hold different values.
    """
    tensors, strangers = {}, []
    for name, array in arrays.items():
        address = layout.address_of(name)
        if address is None:
            if not layout.ignores(name):
                strangers.append(name)
        else:
            array = kernels.to_keras(address, array)
            if address in tensors and not np.array_equal(tensors[address], array, equal_nan=True):
                raise CheckpointError(
                    f"{name!r} is another name of {layout.names_of(address)[0]!r} in files of "
                    f"{layout.name}, but holds other values. The file is damaged or was edited."
                )
            tensors.setdefault(address, array)
    return tensors, strangers


def assign(
    model,
    tensors,
    layout,
    strangers=(),
    except_for=(),
    title="",
    origin="file",
    way_out="Check `source` and the network's arguments, or give load_checkpoint an `except_for`.",
):
    """Sets every variable of a model, or none.

    Args:
        model: the model.
        tensors: arrays by address.
        layout: how messages name the tensors.
        strangers: names that belong nowhere, for the message.
        except_for: patterns of addresses or layers that keep the values that they have.
        title: first sentence of the message.
        origin: what the message calls the giver of the tensors.
        way_out: last sentence of the message.

    Raises:
        CheckpointError: with the names only in the file, the names only in the model, and the
            shapes that differ; or with the tensors that hold NaN or infinite values.
    """
    variables = {
        variable.path: variable
        for variable in model.weights
        if not _excepted(variable.path, except_for)
    }
    only_model = [_name(a, layout) for a in variables if a not in tensors]
    only_file = [*strangers, *(_name(a, layout) for a in tensors if a not in variables)]
    shapes = [
        f"{_name(address, layout)} {tensors[address].shape} against {tuple(variable.shape)}"
        for address, variable in variables.items()
        if address in tensors and tensors[address].shape != tuple(variable.shape)
    ]
    if only_model or only_file or shapes:
        raise CheckpointError(
            "\n".join(
                [
                    title,
                    *_section(f"only in the {origin}", only_file),
                    *_section("only in the model", only_model),
                    *_section(f"of other shapes ({origin} against model, in Keras' order)", shapes),
                    f"Nothing was loaded. {way_out}",
                ]
            )
        )
    not_finite = state_dict.non_finite({a: tensors[a] for a in variables})
    if not_finite:
        raise CheckpointError(
            f"{title} NaN or infinite values are in "
            f"{_listing([_name(a, layout) for a in not_finite])}. Nothing was loaded. The training "
            f"of the {origin} diverged, or it is damaged: take an earlier one."
        )
    for address, variable in variables.items():
        # A copy, because JAX would keep a view, and with it the file that it is in.
        variable.assign(np.array(tensors[address], "float32", order="C"))
        state_dict.release(tensors[address])


def complete(tensors, layout):
    """Adds what a format leaves out because it is always the same."""
    tensors = dict(tensors)
    if not any(address.endswith("/moving_mean") for address in tensors):
        for address in [a for a in tensors if a.endswith("_norm/gamma")]:
            norm, gamma = address.removesuffix("gamma"), tensors[address]
            tensors[norm + "moving_mean"] = np.zeros_like(gamma)
            tensors[norm + "moving_variance"] = np.full_like(gamma, kernels.IDENTITY_VARIANCE)
    if not layout.out_bias:
        for address in [a for a in tensors if a.endswith("_nonlocal/norm/beta")]:
            bias = address.replace("norm/beta", "out/bias")
            tensors.setdefault(bias, np.zeros_like(tensors[address]))
    return tensors


def leave_out(tensors, strangers, layout, except_for):
    """Splits off the tensors and names that patterns name.

    Args:
        tensors: arrays by address.
        strangers: names that belong nowhere.
        layout: the `Layout` of the file.
        except_for: patterns of names, addresses or layers.

    Returns:
        The tensors and names that stay, and the addresses that do not.
    """
    out = [
        address
        for address in tensors
        if _excepted(address, except_for)
        or any(_matches(name, except_for) for name in layout.names_of(address))
    ]
    return (
        {address: array for address, array in tensors.items() if address not in out},
        [name for name in strangers if not _matches(name, except_for)],
        out,
    )


def _matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _excepted(address, patterns):
    """Whether patterns name an address, or the layer that it lies in."""
    return _matches(address, patterns) or _matches(address.split("/")[0], patterns)


def _name(address, layout):
    names = layout.names_of(address)
    return names[0] if names else address


def _section(title, names):
    return [f"{len(names)} {title}: {_listing(names)}"] if names else []


def _listing(names, shown=_SHOWN):
    """Some names, told apart by where they begin, and how many more there are."""
    if len(names) <= shown:
        return ", ".join(names)
    groups = collections.Counter(name.split(".")[0].split("_")[0] for name in names)
    summary = ", ".join(f"{count} in {group}" for group, count in groups.most_common(6))
    return f"{', '.join(names[:shown])}, and {len(names) - shown} more ({summary})"
