"""Which calls load a file of weights: found by trying."""

import warnings

from keras_nonlocal.checkpoints import image_networks, inspection, rules
from keras_nonlocal.checkpoints.inflation import inflate_weights
from keras_nonlocal.checkpoints.loading import load_checkpoint
from keras_nonlocal.models.config import ResNet3DConfig
from keras_nonlocal.models.video_resnet import build_network

# What stands in for an argument that nothing tells, as it does not change what fits.
_ANY = {"clip": "8x8", "mode": "embedded_gaussian", "pool2": True}


def attempt(findings):
    """Loads a file in every way that fits its names.

    Args:
        findings: `inspection.Findings` of the file.

    Yields:
        Name of the function, keyword arguments, and the error that the call ends with, `None` if
        it loads. An argument is `...` where the file does not tell it. Of `inflate_weights` the
        arguments are those of the builder of its model.
    """
    told = findings.network and inspection.tell(findings, "source")
    for source in [told[0]] if told else findings.sources or rules.SOURCES[:1]:
        options = {"source": source, **_find_options(findings, source)}
        filled = {key: _ANY[key] if value is ... else value for key, value in options.items()}
        fault = _fault_of(load_checkpoint, findings.path, **filled)
        if fault is not None and _is_image_network(findings):
            yield "knl.inflate_weights", *_try_inflation(findings)
            return
        yield "knl.load_checkpoint", options, fault


def _find_options(findings, source):
    network = findings.network
    if network is None:
        return {}
    clip = inspection.tell(findings, "clip")
    options = {"clip": clip[0] if clip else ...}
    if network["non_local"] and inspection.tell(findings, "mode") is None:
        options["mode"] = ...
    if inspection.tell(findings, "pool2", source) is None:
        options["pool2"] = ...
    if network["classes"] is None:
        options["except_for"] = "predictions"
    return options


def _is_image_network(findings):
    return _fault_of(image_networks.read_image_network, findings.path) is None


def _try_inflation(findings):
    """Gives arguments of a builder whose network takes an image network, and the error."""
    options = {"source": image_networks.read_image_network(findings.path).source}
    for key, usual in (("depth", (3, 4, 6, 3)), ("width", 64)):
        if findings.network[key] != usual:
            options[key] = findings.network[key]

    def inflate():
        usual = {"mode": _ANY["mode"], "classes": 2}
        config = ResNet3DConfig(**findings.network | usual | options)
        inflate_weights(build_network(config, initialize=False), findings.path)

    return options, _fault_of(inflate)


def _fault_of(function, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            function(*arguments, **options)
        except Exception as fault:  # A file that lies may end Keras in any way.
            return str(fault) if isinstance(fault, ValueError) else repr(fault)
    return None
