"""`keras-nonlocal fuse`: what several networks said about the same videos, taken together."""

import json
import os

from keras_nonlocal import evaluation
from keras_nonlocal.commands import calls, reporting
from keras_nonlocal.evaluation.videos import SCORES


def add_arguments(parser):
    """Says what can follow `fuse`."""
    parser.description = (
        "Takes the weighted mean of the scores that `keras-nonlocal evaluate --out` wrote for "
        "several networks, matched by video, and reports on it as on a network's own."
    )
    parser.add_argument(
        "scores", nargs="+", metavar="SCORES", help="scores.npz, or the folder that it is in"
    )
    parser.add_argument(
        "--weights", type=float, nargs="+", metavar="W", help="one for each; all alike if left out"
    )
    reporting.add_report_arguments(parser)


def run(chosen):
    """Fuses scores, and prints and writes what came out."""
    reporting.check_report_arguments(chosen)
    paths = [os.path.join(p, SCORES) if os.path.isdir(p) else p for p in chosen.scores]
    path = chosen.out and os.path.join(chosen.out, SCORES)
    if path and os.path.exists(path):
        if any(os.path.samefile(path, each) for each in paths):
            raise ValueError(f"--out must be another folder than those of SCORES: {chosen.out}.")
        if not chosen.overwrite:
            raise FileExistsError(f"{path} exists already. Add --overwrite, or write elsewhere.")
    chosen.title = chosen.title or f"{len(paths)} networks fused"
    parts = [evaluation.load_scores(each) for each in paths]
    fused = evaluation.fuse_scores(parts, chosen.weights)
    if path:
        os.makedirs(chosen.out, exist_ok=True)
        evaluation.save_scores(path, fused)
    reporting.print_and_write(chosen, fused, [("networks", f"{len(parts)}")])
    saves = calls.write_call("knl.evaluation.save_scores", path) if path else ""
    saves = f"{saves[:-1]}, scores)\n" if path else ""
    weights = f", weights={chosen.weights}" if chosen.weights else ""
    print("\nThe same in Python:\n")
    print(
        f"import keras_nonlocal as knl\n\n"
        f"parts = [knl.evaluation.load_scores(path) for path in {json.dumps(paths)}]\n"
        f"scores = knl.evaluation.fuse_scores(parts{weights})\n"
        f"{saves}{reporting.write_python(chosen)}"
    )
    return 0
