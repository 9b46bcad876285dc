# `make` alone prints what can be made: the comments after ##.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test unit system coverage contract test-newest check lint lock audit image bench phantom fuzz attack chaos soak clean

VENV := .venv
TOOLS := .venv-tools
BIN := $(VENV)/bin
# torch for processors alone is not on PyPI: it lies in pip's own folder of wheels, or else at PyTorch's
TORCH_WHEELS ?= $(or $(patsubst %/,%,$(dir $(firstword $(wildcard $(PIP_FIND_LINKS:%=%/torch-*.whl))))),https://download.pytorch.org/whl/cpu/torch/)
export PYTHON TORCH_WHEELS NEWEST

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.ready ## the whole job on this machine, with everything it needs
	@$(BIN)/hilum demo

test: check ## all set-up, then linter, type checker and tests; PYTEST=options for pytest
	@$(MAKE) --no-print-directory --keep-going unit system

# tests wait for peers and clocks half of the time, so there are more of them at once than cores
CORES := $(shell nproc)
UNIT := tests --ignore=tests/system -n $(shell expr 2 \* $(CORES)) --maxprocesses 8 --dist loadfile --durations=20
SYSTEM := tests/system -n $(CORES) --maxprocesses 4 --dist loadfile --durations=20
unit: $(VENV)/.ready ## the tests of single modules alone, several at a time
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(UNIT) $(PYTEST)

system: $(VENV)/.ready ## the tests of the whole daemon with real peers alone
	$(BIN)/python -m pytest $(SYSTEM) $(PYTEST)

coverage: $(VENV)/.ready ## the tests of single modules, measured; fails below the floor in pyproject.toml
	$(BIN)/python -m pytest $(UNIT) --cov --cov-report=term $(PYTEST)

# what we use of pynetdicom that it does not promise
contract: $(VENV)/.ready ## the test that pynetdicom still has every name that hilum uses
	$(BIN)/python -m pytest tests/dicom_io/test_pynetdicom_names.py

test-newest: ## the tests on the newest releases that pyproject.toml allows; NEWEST=pynetdicom: its contract on one beyond
	@rm -f .venv-newest/.ready
	@$(MAKE) --no-print-directory --keep-going VENV=.venv-newest HOW=newest $(if $(filter pynetdicom,$(NEWEST)),contract,unit system)

check: lint $(VENV)/.ready ## linter, formatter and type checker
	$(BIN)/mypy

lint: $(TOOLS)/.ready ## linter and formatter alone, which need no torch
	$(TOOLS)/bin/ruff check .
	$(TOOLS)/bin/ruff format --check .

# the image's interpreter and platform; make lock UPGRADE= keeps the versions that stand
COMPILE := $(TOOLS)/bin/uv pip compile --no-config --quiet --generate-hashes --no-emit-find-links --group image pyproject.toml \
	--python-version 3.11 --python-platform x86_64-manylinux_2_28 --custom-compile-command "make lock"
UPGRADE ?= --upgrade
LOCK := packaging/requirements-

lock: $(TOOLS)/.ready ## the newest versions, with hashes, that the image and the tests are made from
	$(TOOLS)/bin/python -m pip install --quiet uv
	$(COMPILE) $(UPGRADE) --find-links $(TORCH_WHEELS) --output-file $(LOCK)cpu.lock
	$(COMPILE) $(UPGRADE) --output-file $(LOCK)gpu.lock
	$(COMPILE) $(UPGRADE) --find-links $(TORCH_WHEELS) --extra test --extra train --constraint $(LOCK)cpu.lock --output-file $(LOCK)test.lock

audit: $(TOOLS)/.ready ## the known faults of the locked versions
	$(TOOLS)/bin/python -m pip install --quiet pip-audit
	$(TOOLS)/bin/pip-audit --disable-pip --require-hashes --requirement $(LOCK)gpu.lock

image: ## the image built and run without a container engine, as root on Debian
	@packaging/try_image.sh

bench: $(VENV)/.ready ## studies a second; BENCH=options
	$(BIN)/python benchmarks/throughput.py $(BENCH)

phantom: $(VENV)/.ready ## the demonstration's bundle, trained again on drawings, in some minutes
	nice $(BIN)/hilum phantom build/drawings --count 500
	nice $(BIN)/hilum train --data build/drawings --out build/phantom --folds 5 --no-track --threads 1 \
		--recipe inference/bundles/phantom/docs/recipe.json
	cp -R build/phantom/configs build/phantom/golden build/phantom/models inference/bundles/phantom/
	$(BIN)/python -c 'from inference.bundle import pin_packaged; print(pin_packaged("phantom"))'

fuzz: $(VENV)/.ready ## mutated objects and conversations against the running daemon; FUZZ=count
	$(BIN)/python -m tests.system.fuzz --count $(or $(FUZZ),20000)

attack: $(VENV)/.ready ## floods, bombs and crafted models against the running daemon; ATTACK=options
	$(BIN)/python -m tests.system.attack $(ATTACK)

chaos: $(VENV)/.ready ## senders, a PACS on its bad days and a killer at once; CHAOS=seconds
	$(BIN)/python -m tests.system.chaos --seconds $(or $(CHAOS),300)

soak: $(VENV)/.ready ## memory, descriptors and threads over thousands of associations; SOAK=count
	$(BIN)/python -m tests.system.soak --count $(or $(SOAK),5000)

clean: ## all that was made here, removed
	rm -rf .venv .venv-* .coverage* build dist *.egg-info

$(TOOLS)/.ready: HOW := tools
HOW ?= locked
%/.ready: packaging/requirements-test.lock packaging/install.sh pyproject.toml
	@packaging/install.sh $(HOW) $*
