# make demo     the main job on this machine, with everything it needs
# make test     all set-up, then the tests
.PHONY: demo test check bench fuzz chaos soak clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("hilum needs Python 3.11 or newer, found " + sys.version) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --editable '.[test,train]'
	touch $(READY)

demo: $(READY)
	$(BIN)/hilum demo

test: $(READY) check
	$(BIN)/python -m pytest $(PYTEST)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python benchmarks/throughput.py $(BENCH)

clean:
	rm -rf $(VENV) build dist *.egg-info
