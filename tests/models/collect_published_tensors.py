"""Collects the tensor shapes of the published implementations into published_tensors.json.

    python tests/models/collect_published_tensors.py FOLDER

FOLDER holds a NAME.json for each network of a public implementation, with its tensors as rows
`[name, shape, kind]`; a fourth entry marks an alias. Shapes are counted in Keras' order of axes.
"""

import collections
import json
import pathlib
import sys


def keras_shape(shape):
    """(O, I, T, H, W) to (T, H, W, I, O); vectors stay."""
    if len(shape) == 4:  # A kernel of one frame, held without the axis of frames.
        shape = [*shape[:2], 1, *shape[2:]]
    return tuple([*shape[2:], shape[1], shape[0]] if len(shape) > 1 else shape)


def main(folder):
    published = {}
    for path in sorted(folder.glob("*.json")):
        network = json.loads(path.read_text())
        shapes = collections.Counter()
        for name, shape, _, *alias in network["tensors"]:
            if not alias and not name.endswith("num_batches_tracked"):
                if name.startswith("pred") and len(shape) > 2:
                    shape = shape[:2]
                shapes["x".join(map(str, keras_shape(shape)))] += 1
        published[network["name"]] = dict(sorted(shapes.items()))
    target = pathlib.Path(__file__).with_name("published_tensors.json")
    target.write_text(json.dumps(published, indent=0) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
