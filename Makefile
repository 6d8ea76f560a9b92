# Needs make and any Python from 3.11 on; everything else goes into .venv (choose another with VENV=…).
VENV ?= .venv
PYTHON ?=
PYTEST_ARGS ?= -n 4 --dist loadfile

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
COMPILE := $(BIN)/uv pip compile --no-config --universal --python-version 3.11 --generate-hashes --no-header \
	--annotation-style line --quiet --extra entra --extra onprem --extra aws --extra evidence --extra embedded

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## make the virtual environment (the other targets do it when needed)

$(STAMP): requirements/dev.lock requirements/setup.sh pyproject.toml
	@VENV="$(VENV)" PYTHON="$(PYTHON)" sh requirements/setup.sh
	@touch $@

demo: $(STAMP) ## offboard the sample people against the embedded stack; artefacts in demo-output/
	$(BIN)/leaver demo

test: $(STAMP) ## run the tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(STAMP) ## lint, format, types, import rules, and the wheel installed alone
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/guards

bench: $(STAMP) ## run the benchmarks
	@for program in benchmarks/bench_*.py; do \
		[ -e "$$program" ] || continue; echo "== $$program"; $(BIN)/python "$$program" || exit 1; done

lock: $(STAMP) ## resolve again and write requirements/*.lock (add UPGRADE=--upgrade for newer versions)
	$(COMPILE) $(UPGRADE) --group dev pyproject.toml -o requirements/dev.lock
	$(COMPILE) --group backend -c requirements/dev.lock pyproject.toml -o requirements/runtime.lock

clean: ## remove the virtual environment and everything generated
	rm -rf $(VENV) demo-output dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
