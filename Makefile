# Every target sets up .venv by itself where it is missing or stale. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
HOSTILE := $(VENV)/hostile/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast check fix golden benchmark hostile-pictures browser clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: $(READY)  ## the main job: train on real pictures, evaluate, predict, report
	$(BIN)/alexnet demo

test: $(READY) $(HOSTILE)  ## all tests, the README's and docstrings' examples included
	$(BIN)/python -m pytest tests src

test-fast: $(READY)  ## the tests that take under a second each
	$(BIN)/python -m pytest tests src -m "not slow"

check: $(READY)  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: $(READY)  ## what lint and format can mend by themselves
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

golden: $(READY)  ## rewrite the golden files; read the diff before you commit it
	$(BIN)/python docs/weights_and_work.py
	REWRITE_GOLDEN=1 $(BIN)/python -m pytest tests -m "not slow" -k golden

benchmark: $(READY)  ## speed here, beside the plain way: start-up, and a training step
	$(BIN)/python benchmarks/startup.py
	$(BIN)/alexnet benchmark train

hostile-pictures: $(HOSTILE)  ## fetch what tests/test_hostile.py reads: the archives of Pillow and pypng

browser:  ## as root on Debian: chromium, without which the explorer's tests in a browser are skipped
	command -v chromium >/dev/null || { apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null; }

clean:  ## remove .venv and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis

# Stale: older than what it was made from, or its interpreter does not start (the folder was moved).
$(READY): pyproject.toml constraints.txt $(if $(wildcard $(BIN)/python),$(shell $(BIN)/python -c '' 2>/dev/null || echo force),)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $$($(PYTHON) --version 2>&1); Python 3.11 or later is needed; run: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "make: this Python has no venv; install it (Debian: python3-venv), or choose one: make PYTHON=..." >&2; exit 2; }
	@echo "make: setting up $(VENV); torch and what it needs are some hundred MB"
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@touch $@

# Without a network the tests that need them are skipped, and say so.
$(HOSTILE): constraints.txt $(READY)
	@mkdir -p $(@D) && rm -f $(@D)/*
	@$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
	  --dest $(@D) "$$(grep ^pillow== constraints.txt)" pypng==0.20220715.0 && touch $@ || \
	  echo "make: the archives for tests/test_hostile.py cannot be had; they are skipped" >&2

.PHONY: force
force:
