"""Whatever happens to a file, it is read or refused: no other error, and no crash.

    python tests/archives/test_mutations.py 1000000

tries so many files at random, in one process, and says how many of them were read.
"""

import pathlib
import pickletools
import random
import sys
import tempfile

import pytest

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from keras_nonlocal.archives.readers import CheckpointError, read_arrays
from tests.archives import weight_files

# How many files the default run and the slow one try, by kind of file.
COUNTS = {"pickle": (1500, 30_000), "torch": (400, 3_000), "safetensors": (300, 3_000)}
OPCODES = [opcode.code.encode("latin1") for opcode in pickletools.opcodes]
PIECES = (
    *OPCODES,
    b"\xff\xff\xff\x7f",
    b"\xff" * 8,
    bytes(8),
    b"cos\nsystem\n",
    b"ccollections\nOrderedDict\n",
    b"cnumpy\ndtype\n",
)


@pytest.fixture(autouse=True)
def _clean_state():
    """Nothing here touches Keras, and clearing its state would take most of the time."""


def originals(kind):
    """Good files of a kind."""
    if kind == "pickle":
        pickles = [weight_files.pickled(protocol) for protocol in range(6)]
        return [*pickles, weight_files.python2_pickle()]
    if kind == "torch":
        return [weight_files.torch_saved(), weight_files.torch_saved(zipped=False)]
    return [weight_files.safetensors_saved()]


def flip(content, place, other, piece):
    return content[:place] + bytes([content[place] ^ 1 << other % 8]) + content[place + 1 :]


def replace(content, place, other, piece):
    return content[:place] + piece + content[place + len(piece) :]


def insert(content, place, other, piece):
    return content[:place] + piece + content[place:]


def cut(content, place, other, piece):
    return content[:place]


def leave_out(content, place, other, piece):
    return content[:place] + content[place + 1 + other % 16 :]


def splice(content, place, other, piece):
    """A part of the file once more, somewhere else."""
    other %= len(content)
    return content[:place] + content[other : other + 1 + place % 64] + content[place:]


CHANGES = (flip, flip, replace, insert, leave_out, splice, cut)


def mutated(content, steps):
    """Bytes after some changes; each step is a change, two places, and a piece."""
    for change, place, other, piece in steps:
        if content:
            content = CHANGES[change](content, place % len(content), other, PIECES[piece])
    return content


def outcome(path, content):
    """Whether a file is read; raises what the readers should not."""
    path.write_bytes(content)
    try:
        arrays = read_arrays(path).arrays
    except CheckpointError:
        return False
    # Touches all of the memory that the arrays say is theirs.
    for array in arrays.values():
        array.tobytes()
    return True


def random_steps(generator):
    return [
        (
            generator.randrange(len(CHANGES)),
            generator.randrange(1 << 20),
            generator.randrange(1 << 20),
            generator.randrange(len(PIECES)),
        )
        for _ in range(generator.randint(1, 4))
    ]


def try_many(kind, count, folder):
    """Gives how many of `count` changed files are read all the same."""
    generator = random.Random(count)
    files = originals(kind)
    path = folder / "weights"
    read = 0
    for index in range(count):
        steps = random_steps(generator)
        try:
            read += outcome(path, mutated(files[index % len(files)], steps))
        except Exception as error:
            raise AssertionError(f"{kind}, file {index % len(files)}, {steps}") from error
    return read


@pytest.mark.parametrize("kind", COUNTS)
def test_changed_files_are_read_or_refused(kind, tmp_path):
    hypothesis = pytest.importorskip("hypothesis")
    st = pytest.importorskip("hypothesis.strategies")
    if kind != "pickle":
        pytest.importorskip(kind)
    files = originals(kind)
    place = st.integers(0, (1 << 20) - 1)
    changes = st.integers(0, len(CHANGES) - 1)
    pieces = st.integers(0, len(PIECES) - 1)

    @hypothesis.settings(
        max_examples=COUNTS[kind][0], deadline=None, database=None, derandomize=True
    )
    @hypothesis.given(
        content=st.sampled_from(files),
        steps=st.lists(st.tuples(changes, place, place, pieces), min_size=1, max_size=4),
    )
    def check(content, steps):
        outcome(tmp_path / "weights", mutated(content, steps))

    check()


@pytest.mark.slow
@pytest.mark.parametrize("kind", COUNTS)
def test_many_changed_files_are_read_or_refused(kind, tmp_path):
    if kind != "pickle":
        pytest.importorskip(kind)
    count = COUNTS[kind][1]
    # Some change what nobody reads, or a number of an array.
    assert 0 < try_many(kind, count, tmp_path) < count


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        for kind in sys.argv[2:] or COUNTS:
            read = try_many(kind, int(sys.argv[1]), pathlib.Path(folder))
            sys.stdout.write(f"{kind}: {sys.argv[1]} files, {read} of them read\n")
