# `make` lists the targets. Each does all of its own set-up.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# A package index for torch alone: TORCH_INDEX=<url> chooses a CPU or a CUDA build.
TORCH_INDEX ?=
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test soak check fmt clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt "pip>=25.1"
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --group dev --editable ".[demo]"
	touch $@

install: $(STAMP) ## make .venv with everything in it

demo: $(STAMP) ## the main job, end to end: build, verify, train, kill, recover
	$(BIN)/morph demo

test: $(STAMP) ## every test, on real servers from wheels
	kernels=$$(mktemp -d) && trap 'rm -rf "$$kernels"' EXIT && export MORPH_TEST_CACHE="$$kernels" && \
	$(BIN)/pytest -q -n 4 --dist loadfile --no-loadscope-reorder -m "not timed" && \
	$(BIN)/pytest -q -n 2 --dist loadfile -m timed

soak: $(STAMP) ## 1,000 kills of savers, ten minutes of random operations on the registry, ten on the cache (MORPH_SOAK_SEED=n repeats the choices)
	MORPH_KILLS=$${MORPH_KILLS:-1000} MORPH_SOAK_S=$${MORPH_SOAK_S:-600} $(BIN)/pytest -q --timeout 1200 tests/faults/test_checkpoint_kill_storm.py tests/faults/test_registry_under_fire.py tests/faults/test_cache_soak.py

coordination: $(STAMP) ## 16 processes on 4 hosts ask for 20 kernels that nobody built
	MORPH_COORDINATION=$${MORPH_COORDINATION:-4x4x20} $(BIN)/pytest -q tests/integration/test_coordination.py

check: $(STAMP) ## formatting, lint, types, layering and migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/squawk 'morph_assets/registry/migrations/sql/*/*.sql'

fmt: $(STAMP) ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
