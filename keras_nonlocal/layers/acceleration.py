"""When XLA should compile a model that nobody asked to compile."""

import keras


def xla_pays_off():
    """Says whether Keras' `jit_compile="auto"` should choose XLA for our layers.

    On TensorFlow's CPU device XLA runs 3-D convolution networks two to three times slower
    than the oneDNN kernels it replaces, so a model that holds one of our layers leaves it
    off there. With an accelerator, and on every other backend, it stays on.
    """
    if keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf

    return any(tf.config.list_physical_devices(kind) for kind in ("GPU", "TPU"))
