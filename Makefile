# make demo     the main job on this machine, with everything it needs
# make test     all set-up, then the tests
# make lock     write the exact versions, with hashes, that the image is built from; make audit: their known faults
.PHONY: lock audit demo test check bench fuzz chaos soak clean

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

# the image's interpreter and platform; torch's wheels for processors alone are not on PyPI
LOCK := $(BIN)/uv pip compile --no-config --quiet --generate-hashes --no-emit-find-links --group image pyproject.toml \
	--python-version 3.11 --python-platform x86_64-manylinux_2_28 --custom-compile-command "make lock"
TORCH_WHEELS ?= https://download.pytorch.org/whl/cpu/torch/

lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	$(LOCK) --upgrade --find-links $(TORCH_WHEELS) --output-file packaging/requirements-cpu.lock
	$(LOCK) --upgrade --output-file packaging/requirements-gpu.lock

audit: $(READY)
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/pip-audit --disable-pip --require-hashes --requirement packaging/requirements-gpu.lock

# mutated objects and conversations against the running daemon; FUZZ=count
fuzz: $(READY)
	$(BIN)/python -m tests.system.fuzz --count $(or $(FUZZ),20000)

# senders, a PACS on its bad days and a killer at once; CHAOS=seconds
chaos: $(READY)
	$(BIN)/python -m tests.system.chaos --seconds $(or $(CHAOS),300)

# memory, descriptors and threads over thousands of associations; SOAK=count
soak: $(READY)
	$(BIN)/python -m tests.system.soak --count $(or $(SOAK),5000)

clean:
	rm -rf $(VENV) build dist *.egg-info
