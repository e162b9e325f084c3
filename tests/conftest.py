"""What all tests share: two logical devices, a fixed seed, and room between tests."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest
import tensorflow as tf

# Networks are many small objects, most of which live as long as their test.
gc.set_threshold(10_000, 20, 20)

# The files that take minutes, in the order of their time: they start first, so that no process has
# one of them left when the other is done.
_LONG = ("test_readme.py", "test_examples.py", "test_processes.py", "test_insertion.py")

# Replicas need devices of their own, set before TensorFlow starts.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: (*_LONG, item.path.name).index(item.path.name))


@pytest.fixture(autouse=True, scope="session")
def _video_index(tmp_path_factory):
    """Indexes of the videos of tests, which child processes share, are kept among their files."""
    os.environ["KERAS_NONLOCAL_VIDEO_INDEX"] = str(tmp_path_factory.mktemp("video-index"))


@pytest.fixture(autouse=True, scope="module")
def _settle():
    """Sets what lives already apart, so that the collections between tests need not walk it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _clean_state():
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")
    # Without a collection, which takes longer than many tests; Python collects by itself.
    keras.backend.clear_session(free_memory=False)
