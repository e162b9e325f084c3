"""Says what is in files of weights, which network they hold, and which call loads them.

python weights/verify.py FILE...

Nothing in a file is ever run. `keras-nonlocal verify FILE...` does the same.
"""

import os
import sys

# TensorFlow's notices would stand between the lines that are printed.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from keras_nonlocal import cli

if __name__ == "__main__":
    sys.exit(cli.main(["verify", *sys.argv[1:]]))
