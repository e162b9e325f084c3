"""`keras-nonlocal weights`: the weights that are known by name."""

import difflib

import keras_nonlocal
from keras_nonlocal.checkpoints import listing, registry
from keras_nonlocal.commands import printing


def add_arguments(parser):
    """Says what can follow `weights`."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="all that is known of one")
    parser.add_argument("--json", action="store_true", help="for other programs")


def run(chosen):
    """Prints the table of all weights, or all that is known of one."""
    checkpoints = keras_nonlocal.list_weights()
    if chosen.name is not None:
        like = difflib.get_close_matches(chosen.name, registry.CHECKPOINTS, n=3, cutoff=0.5)
        if chosen.name not in registry.CHECKPOINTS:
            hint = f"Names like it: {', '.join(like)}. " if like else ""
            raise ValueError(
                f"No weights are known by the name {chosen.name!r}. {hint}"
                "keras-nonlocal weights lists them all."
            )
        checkpoints = [registry.CHECKPOINTS[chosen.name]]
    if chosen.json:
        print(listing.write_json(checkpoints))
    elif chosen.name is None:
        print(listing.write_table(checkpoints))
    else:
        print(chosen.name)
        printing.print_pairs(listing.describe_checkpoint(checkpoints[0]))
    return 0
