# Needs a Python of 3.11 or newer with pip and venv, and make. Every target does all of its own set-up, in .venv.
.DEFAULT_GOAL := help
SHELL := /bin/sh
.PHONY: help setup run test lint format bench clean

BIN := .venv/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
WORKERS := logical

help:  ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.ready  ## the virtual environment with everything Tidings runs on

run: .venv/.ready  ## the demonstration: contacts from a CSV to tracked mail in a sandbox, at http://127.0.0.1:18080
	$(BIN)/tidings demo

test: .venv/.ready-dev  ## the whole suite, on SQLite and on a PostgreSQL of its own
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 4 --dist worksteal $(ARGS)

lint: .venv/.ready-dev  ## style, types and who may import whom
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-logo --cache-dir .venv/.import-linter

format: .venv/.ready-dev  ## put the code in its usual shape
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .

bench: .venv/.ready-dev  ## the ratios of the speed table, one file of benchmarks/ after the other
	@for file in $$(ls benchmarks/[a-z]*.py | grep -v /seed); do echo "== $$file"; PYTHONPATH=. $(BIN)/python "$$file" $(ARGS) || exit 1; done

clean:  ## everything that was made, but not the data folder
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.ready: requirements.lock pyproject.toml scripts/python
	@echo "Setting up .venv (once, well under a minute) …"
	@rm -f .venv/.ready-dev; set -e; python=$$(scripts/python); test -x $(BIN)/python || "$$python" -m venv .venv
	@$(PIP) install -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.venv/.ready-dev: .venv/.ready requirements-dev.lock
	@echo "Adding what the tests and checks need …"
	@$(PIP) install -r requirements-dev.lock
	@touch $@
