# make up | down | test | lint | bench | venv | proto | docs | clean; each installs what it needs first (tools/setup.sh).
.DEFAULT_GOAL := help
.PHONY: help up down venv dev proto docs lint test bench clean
BIN := .venv/bin
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/node_modules/.bin:$(PATH)
PYTEST ?= $(BIN)/python -m pytest -q --durations=5
TESTS ?= tests/unit tests/contract tests/functional $(sort $(patsubst %/__init__.py,%,$(wildcard tests/system/*/__init__.py)))
CODE := fabric agents gateway guest tests tools hatch_build.py

help:
	@sed -n 1p Makefile

up: venv ## the cloud on this machine; arguments for fabricctl up: make up UP="--without-guest"
	@$(BIN)/fabricctl up $(UP)

down:
	@$(BIN)/fabricctl down $(DOWN)

venv: # what running needs
	@tools/setup.sh runtime

dev: # what testing needs
	@tools/setup.sh dev

proto: dev
	@$(BIN)/python tools/protoc.py

docs: venv # what is generated of docs/
	@$(BIN)/python -m tools.configuration

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(wildcard $(CODE))
	buf lint
	tools/breaking.sh

test: lint # each part in a process of its own: its clouds end with it, and libvirt's and gRPC's threads
	@status=0; for part in $(TESTS); do echo "-- $$part"; $(PYTEST) "$$part" || status=1; done; exit $$status

bench: dev
	$(BIN)/python -m tests.bench --report

clean: # what was generated here; a cloud's data is not here: fabricctl down --wipe
	rm -rf .venv node_modules build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name '*_pb2*.py*' -not -path './.git/*' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
