"""These tests need an environment with tf-models-official. `make test-tfm` alone runs them."""

# What tf-models-official does that will not work for ever; all else stays an error.
FILTERS = (
    "ignore:'?imghdr'? (is deprecated|was removed):DeprecationWarning",
    "ignore:`newshape` keyword argument is deprecated:DeprecationWarning",
)


def pytest_configure(config):
    for line in FILTERS:
        config.addinivalue_line("filterwarnings", line)
