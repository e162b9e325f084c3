"""The arguments of `keras-nonlocal train`."""

import argparse

from keras_nonlocal.commands import arguments, sources
from keras_nonlocal.implementations import IMPLEMENTATIONS
from keras_nonlocal.training.recipes import RECIPES

_POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")


def add_to(parser):
    """Says what can follow `train`."""
    parser.description = (
        "Trains a network on the videos of SOURCE, by a recipe, and keeps everything in the "
        "folder of the run. If it is stopped, in whatever way, the same command goes on where it "
        "was, and ends with the same weights."
    )
    sources.add_source_arguments(parser)
    parser.add_argument(
        "--run",
        required=True,
        # The parser keeps the command's function under that name.
        dest="folder",
        metavar="FOLDER",
        help="to write: new, empty, or begun before",
    )
    parser.add_argument(
        "--recipe", choices=RECIPES, default="fine-tuning", help="how to train; fine-tuning"
    )
    parser.add_argument(
        "--list-recipes",
        action=_ListRecipes,
        nargs=0,
        help="print each recipe: its command, the expected result and its source; and end",
    )
    parser.add_argument(
        "--validation",
        metavar="SOURCE|SHARE",
        help="other videos to validate with, or the share of SOURCE to keep for it, such as 0.2",
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "--network",
        choices=("C2D", "I3D", "NLC2D", "NLI3D"),
        help="architecture (default: that of --weights, else NLI3D)",
    )
    network.add_argument(
        "--depth",
        type=_depth,
        help="ResNet depth: 50, 101, or blocks per stage, such as 3,4,6,3 (default: that of "
        "--weights, else 50)",
    )
    network.add_argument(
        "--width",
        type=arguments.count,
        help="channels of the stem (default: that of --weights, else 64)",
    )
    network.add_argument(
        "--weights",
        metavar="NAME|FILE",
        help="initial weights: a name of `keras-nonlocal weights`, imagenet, or a .keras or "
        ".weights.h5 file (default: random; recipes that freeze weights or statistics need this "
        "option). NAME and .keras files bring their network, clip and crop along",
    )
    network.add_argument(
        "--layers-of",
        choices=IMPLEMENTATIONS,
        help="implementation whose layers to follow (default: that of --weights, else "
        "video-nonlocal-net)",
    )
    changes = parser.add_argument_group("instead of what the recipe says")
    changes.add_argument("--clip", metavar="FRAMESxSTRIDE", help="of the clips, such as 8x8")
    changes.add_argument("--crop", type=_crop, metavar="PIXELS", help="of the network")
    changes.add_argument("--epochs", type=arguments.count, help="passes through the videos")
    changes.add_argument(
        "--batch-size",
        type=arguments.count,
        metavar="N",
        help="clips per step, of all devices together; the rate follows (default: the recipe's, "
        "raised to divide by the number of devices)",
    )
    changes.add_argument(
        "--accumulation",
        type=arguments.count,
        metavar="N",
        help="steps to one update, where memory holds no larger batch; the rate follows",
    )
    changes.add_argument(
        "--learning-rate", type=float, metavar="RATE", help="greatest rate, of this batch"
    )
    changes.add_argument("--precision", choices=_POLICIES, help="of the network's layers")
    changes.add_argument(
        "--norms",
        choices=("trainable", "frozen", "synchronized"),
        help="frozen to the statistics that they have, or synchronized: those of all devices",
    )
    parser.add_argument("--seed", type=arguments.seed, default=0, help="of every draw; 0")
    parser.add_argument(
        "--checkpoint-steps", type=arguments.count, metavar="N", help="between two checkpoints"
    )
    parser.add_argument(
        "--replicas",
        type=arguments.count,
        metavar="N",
        help="devices to divide each batch among: GPUs, all if left out; without any, parts of "
        "the processor, to try it out",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="begin anew; removes what the run's folder holds"
    )
    several = parser.add_argument_group("several processes, with KERAS_BACKEND=jax")
    several.add_argument(
        "--num-processes", type=arguments.count, default=1, metavar="N", help="how many; 1"
    )
    several.add_argument(
        "--process-id", type=arguments.seed, metavar="I", help="of this one, from 0"
    )
    several.add_argument(
        "--coordinator", metavar="HOST:PORT", help="of process 0, the same in all of them"
    )


def _crop(text):
    # The network halves its pictures five times.
    if arguments.count(text) < 32:
        raise argparse.ArgumentTypeError(f"must be a number of at least 32 pixels, not {text!r}")
    return int(text)


def _depth(text):
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts) or len(parts) not in (1, 4):
        raise argparse.ArgumentTypeError(f"must be 50, 101, or four block counts, not {text!r}")
    numbers = tuple(int(part) for part in parts)
    return numbers[0] if len(numbers) == 1 else numbers


class _ListRecipes(argparse.Action):
    """Prints all recipes and ends, as `--version` does."""

    def __call__(self, parser, *_):
        print("\n".join(recipe.describe() for recipe in RECIPES.values()))
        parser.exit()
