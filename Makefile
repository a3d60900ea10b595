# Two commands on a fresh machine: `make demo` shows it, `make test` proves it. Both make their own virtual environment, .venv, once.
PYTHON ?= python3
export KERAS_BACKEND ?= jax
# Test processes at a time, and the tests to run: `make test-jax TESTS=tests/layers`.
JOBS ?= auto
TESTS ?= tests
MARKED ?= -m "not slow"
# What needs no other library beside one backend.
WHEEL_TESTS ?= tests/test_import.py tests/test_keras_files.py tests/test_plotting.py tests/generation/test_decoding.py

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt
LOWEST_KERAS := 3.12.0
OF_KERAS := layers models training transforms tasks generation/test_decoding.py test_keras_files.py

# tensorflow-cpu is the same library without its GPU part; it is published for this platform only.
TENSORFLOW := $(if $(filter Linux-x86_64,$(shell uname -s)-$(shell uname -m)),tensorflow-cpu,tensorflow)
BACKEND_PACKAGE := $(if $(filter tensorflow,$(KERAS_BACKEND)),$(TENSORFLOW),$(KERAS_BACKEND))

PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist worksteal
export OMP_NUM_THREADS ?= 1
export TF_CPP_MIN_LOG_LEVEL ?= 2
# Each process, of tests and of the programs that they start, would compile the package and the tests anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo bench docs notebooks test test-all check lint test-assets test-jax test-torch test-tensorflow test-lowest-keras wheel test-wheel clean
.NOTPARALLEL:

demo: $(VENV)/.installed-$(KERAS_BACKEND)
	$(BIN)/python examples/demo.py

# Every backend runs even when an earlier one failed.
test: $(VENV)/.installed-dev test-assets
	$(MAKE) --keep-going test-jax test-torch test-tensorflow test-lowest-keras

test-all: $(VENV)/.installed-dev test-assets
	$(MAKE) --keep-going MARKED= test-jax test-torch test-tensorflow test-lowest-keras

check: lint test

# Ours beside the peers that are installed: `make bench`, or some kinds of work, with options for benchmarks/harness.py:
# `make bench WORK="decode train -- --threads 1 --clock cpu --rounds 3"`. Then docs/benchmarks.md shows what came out.
bench: $(VENV)/.installed-dev test-assets
	$(BIN)/python benchmarks/all.py $(WORK)

# The site, in build/site. A broken link, an anchor that is missing, or a page outside of the navigation is an error.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The guides as notebooks, in build/notebooks.
notebooks: $(VENV)/.installed-docs
	mkdir -p build/notebooks
	for page in docs/guides/*.md docs/tasks/*.md; do \
		$(BIN)/jupytext --quiet --to ipynb --output build/notebooks/$$(basename $$page .md).ipynb $$page; \
	done

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The checkpoints that tests compare with (tests/assets.txt), kept in .cache/test-assets.
test-assets: $(VENV)/.installed-dev
	$(BIN)/python tests/assets.py

test-jax test-torch test-tensorflow: test-%: $(VENV)/.installed-dev
	KERAS_BACKEND=$* $(PYTEST) $(MARKED) $(TESTS)

# The oldest Keras that pyproject.toml allows, in front of the installed one on Python's path: all that each backend is
# tested with, since what one backend is enough for, one Keras is too, where Keras does the work: layers, models, fit,
# files (`test-all` leaves out nothing).
test-lowest-keras: .cache/keras-$(LOWEST_KERAS)
	PYTHONPATH=$< KERAS_BACKEND=torch KERAS_AS_IT_IS=1 $(PYTEST) $(if $(MARKED),-m "not slow and not one_backend") \
		$(if $(filter tests,$(if $(MARKED),$(TESTS))),$(addprefix tests/,$(OF_KERAS)),$(TESTS))

.cache/keras-$(LOWEST_KERAS): $(VENV)/.installed-dev
	rm -rf $@
	$(BIN)/python -m pip install --quiet --no-deps --target $@ keras==$(LOWEST_KERAS)

# The source distribution and the wheel, in dist/: what a release consists of.
wheel: | $(BIN)/python
	rm -rf dist
	$(BIN)/python -m hatchling build

# The wheel in a fresh environment, with the demo and some of the tests, the checkout out of sight (tests/wheel.py).
test-wheel: wheel
	$(BIN)/python tests/wheel.py dist/*.whl $(WHEEL_TESTS)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) hatchling editables

# Stamps: what is installed, renewed when the lists change.
$(VENV)/.installed-jax $(VENV)/.installed-torch $(VENV)/.installed-tensorflow: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) $(BACKEND_PACKAGE) --no-build-isolation --editable '.[cli,train]'
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) jax torch $(TENSORFLOW) --no-build-isolation --editable '.[cli,train,dev]'
	@# Without their dependency, which would be a second TensorFlow beside tensorflow-cpu; where they have no wheel, tests skip.
	-$(INSTALL) --no-deps tensorflow-text keras-hub
	touch $@

# The pages are made of sources alone: neither a backend nor the package itself is needed.
$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) $$($(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])')
	touch $@

clean:
	rm -rf $(VENV) .cache dist
