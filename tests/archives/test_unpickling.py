"""The machine that reads pickles gives what Python's own gives, where both read the file."""

import collections
import pickle

import numpy as np
import pytest

from keras_nonlocal.archives.pickled_arrays import read_pickle
from tests.archives.weight_files import opcode, python2_pickle

hypothesis = pytest.importorskip("hypothesis")
hnp = pytest.importorskip("hypothesis.extra.numpy")
st = pytest.importorskip("hypothesis.strategies")


@pytest.fixture(autouse=True)
def _clean_state():
    """Nothing here touches Keras, and clearing its state would take most of the time."""


def assert_same(given, expected):
    """Raises unless both are of the same types and values, byte order aside."""
    if isinstance(expected, np.ndarray):
        assert isinstance(given, np.ndarray)
        assert given.dtype == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(given, expected)
    elif isinstance(expected, dict):
        assert list(given) == list(expected)
        for key in expected:
            assert_same(given[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert (type(given), len(given)) == (type(expected), len(expected))
        for pair in zip(given, expected, strict=True):
            assert_same(*pair)
    else:
        assert type(given) is type(expected)
        np.testing.assert_equal(given, expected)


def _arranged(array):
    """The same numbers in other orders of memory."""
    reverse = array[::-1] if array.ndim else array
    return st.sampled_from([array, np.asfortranarray(array), reverse])


_DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    hnp.complex_number_dtypes(endianness="?", sizes=(64, 128)),
)
_SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=300),
    st.binary(max_size=300),
    hnp.arrays(_DTYPES, _SHAPES).flatmap(_arranged),
    _DTYPES.map(lambda dtype: dtype.newbyteorder("=")).flatmap(hnp.from_dtype),
)
_KEYS = st.one_of(st.text(max_size=5), st.binary(max_size=5), st.integers(-(2**40), 2**40))
_TREES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner),
        st.tuples(inner, inner, inner, inner),
        st.dictionaries(_KEYS, inner, max_size=4),
        st.dictionaries(_KEYS, inner, max_size=4).map(collections.OrderedDict),
        # One object in two places.
        inner.map(lambda item: [item, item]),
    ),
    max_leaves=8,
)


@hypothesis.settings(max_examples=400, deadline=None, database=None, derandomize=True)
@hypothesis.given(tree=_TREES, protocol=st.integers(0, 5))
def test_pickles_give_what_python_gives(tree, protocol):
    content = pickle.dumps(tree, protocol)
    assert_same(read_pickle(content), pickle.loads(content))


@pytest.mark.parametrize(
    "content",
    [
        b"U\x08\0\0\x80?\0\0\0@",
        opcode(b"T", "<i", 8) + b"\0\0\x80?\0\0\0@",
        b"S'\\x00\\x00\\x80?\\x00\\x00\\x00@'\n",
        b'S"\\x00\\x00\\x80?\\x00\\x00\\x00@"\n',
    ],
    ids=["short string", "string", "literal", "literal in double quotes"],
)
def test_python_2_arrays_have_their_values(content):
    given = read_pickle(python2_pickle(content=content))
    assert_same(given, {"a": np.array([1, 2], "float32")})


def test_python_2_strings_are_latin_1():
    content = b"\x80\x02}q\x01(U\x04na\xefvU\x01aS'\\xe9\\\\x41\\'\\n'\nK\x01u."
    assert_same(read_pickle(content), {"na\xefv": "a", "\xe9\\x41'\n": 1})
    assert read_pickle(content) == pickle.loads(content, encoding="latin1")


def test_python_2_items_of_an_ordered_dict():
    content = b"\x80\x02ccollections\nOrderedDict\n](](U\x01bK\x02e](U\x01aK\x01ee\x85R."
    assert_same(read_pickle(content), {"b": 2, "a": 1})


def test_arrays_in_python_2_strings_are_views_of_the_file():
    content = python2_pickle()
    assert np.shares_memory(read_pickle(content)["a"], np.frombuffer(content, "u1"))
