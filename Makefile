# make run and make test need only Python >= 3.11 and make; tools/host.sh installs the rest and says so.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTO := src/wherry/wire/wherry_v1.proto src/wherry/wire/health_v1.proto src/wherry/wire/v0.proto
# The tests wait more than they compute; each worker has daemons of its own.
AT_ONCE := --numprocesses=$(shell echo $$((2 * $$(nproc)))) --dist=worksteal
CODE := src tools tests $(wildcard bench examples fuzz)
SECONDS := 60

.DEFAULT_GOAL := help
.PHONY: help run test soak bench fuzz check format proto lock install clean

help: ## show this
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

run: $(VENV)/stamp ## set up what is missing, then show what Wherry does (root, two minutes)
	@tools/host.sh runtime $(BIN)/python
	@$(BIN)/python tools/demo.py

test: $(VENV)/stamp ## set up what is missing, then run every test; ARGS="-k journal" is passed to pytest
	@tools/host.sh tests
	@$(BIN)/python -m pytest $(AT_ONCE) $(ARGS)

soak: $(VENV)/stamp ## random operations and random kills for MINUTES (3), checked against a model (root)
	@tools/host.sh tests
	@$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),3) $(ARGS)

bench: $(VENV)/stamp ## measure beside containerd, conmon and the bare runtimes (root); ARGS="--quick lifecycle"
	@tools/host.sh tests
	@$(BIN)/python -m bench $(ARGS)

fuzz: $(VENV)/stamp ## fuzz the readers of everything that comes from outside; SECONDS=60 for each, ARGS="journal"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r fuzz/requirements.lock
	@PYTHONPATH=src $(BIN)/python -m fuzz --seconds $(SECONDS) $(ARGS)

check: $(VENV)/stamp ## ruff, mypy, import-linter
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

format: $(VENV)/stamp ## bring the code into its form
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

proto: $(VENV)/stamp ## write the protobuf code anew
	$(BIN)/python -m grpc_tools.protoc -I src --python_out=src --pyi_out=src $(PROTO)

lock: ## write requirements.lock anew, with the newest versions that pyproject.toml allows
	tools/lock.sh $(PYTHON)

install: $(VENV)/stamp ## set up the virtual environment and nothing else

clean: ## remove everything that make made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* htmlcov
	find src tests tools fuzz -name __pycache__ -type d -prune -exec rm -rf {} +

# Made anew when what is installed may have changed; the editable install follows the sources by itself.
$(VENV)/stamp: requirements.lock pyproject.toml
	@tools/host.sh venv $(PYTHON)
	@echo "setting up $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q src
	@touch $@
