# `make demo` and `make test` need nothing but Python 3.10 to 3.13: each makes the virtual
# environment and installs what it needs the first time, and starts at once after that.
#
#   make test PYTHON=python3.12      with a Python of your choice
#   make test VENV=.venv312          in another environment
#   make demo ARGS="--help"          arguments for the script

SHELL := /bin/sh
VENV ?= .venv
TFM_VENV ?= .venv-tfm
BIN := $(VENV)/bin

# A name on the path may be a launcher without a Python behind it, so each candidate is run.
FITS := import sys, ensurepip, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
CANDIDATES := python3 python3.13 python3.12 python3.11 python3.10 python

# TensorFlow's start-up notices would bury what the commands print; 0 shows them.
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: help demo test test-slow test-tfm lint format wheel clean

help:
	@echo "make demo       train a small network on videos, export it, compare, draw (minutes)"
	@echo "make test       the tests, without the slow ones"
	@echo "make test-slow  the slow tests alone"
	@echo "make test-tfm   records exchanged with TensorFlow's model garden, in $(TFM_VENV)"
	@echo "make lint       ruff check and format, changing nothing"
	@echo "make format     let ruff mend what it can"
	@echo "make wheel      build the package into dist/"
	@echo "make clean      remove the environments and everything built"

demo: $(VENV)/installed-examples
	$(BIN)/python examples/quickstart.py $(ARGS)

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-slow: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m slow --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# The model garden pins TensorFlow and brings 120 packages, so it has an environment to itself.
test-tfm:
	@$(MAKE) --no-print-directory VENV=$(TFM_VENV) test-interchange

.PHONY: test-interchange
test-interchange: $(VENV)/installed-tfm
	$(BIN)/python -m pytest tests/interchange $(ARGS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(VENV)/created
	rm -rf build
	$(BIN)/python -m pip wheel --no-deps --no-build-isolation --wheel-dir dist .

clean:
	rm -rf $(VENV) $(TFM_VENV) build dist *.egg-info .pytest_cache .ruff_cache

# Written last, so that an interrupted run is taken up again by the next one. The pip that comes with
# Python 3.10 cannot build a package that the model garden needs.
$(VENV)/created:
	@python="$(PYTHON)"; \
	if [ -z "$$python" ]; then \
	  for candidate in $(CANDIDATES); do \
	    if $$candidate -c '$(FITS)' >/dev/null 2>&1; then python=$$candidate; break; fi; \
	  done; \
	fi; \
	if [ -z "$$python" ] || ! "$$python" -c '$(FITS)' >/dev/null 2>&1; then \
	  echo "This needs Python 3.10 to 3.13 with its venv module (Debian, Ubuntu: python3-venv)." >&2; \
	  echo "Found: $$( { "$${python:-python3}" --version; } 2>&1 | head -n 1)." \
	    "Name a suitable one: make PYTHON=/path/to/python3.12 ..." >&2; \
	  exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "pip>=24" "setuptools>=77"
	@touch $@

# Without build isolation, pip needs no network where everything is installed already. It would
# compile 20,000 files on one core, most of the time that it takes; Python does that on all of them.
# Some packages hold templates, which are no Python.
$(VENV)/installed-%: setup.cfg pyproject.toml | $(VENV)/created
	@echo "Installing keras_nonlocal[$*] and what it needs; the first time this takes minutes."
	$(BIN)/python -m pip install --quiet --no-compile --no-build-isolation --editable ".[$*]"
	@$(BIN)/python -W ignore -m compileall -qq -j 0 $(VENV)/lib || true
	@touch $@
