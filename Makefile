# Everything that is done with this repository. `make` alone lists it. Each target prepares what it needs.

PYTHON ?=
DEMO_ARGS ?=
PYTEST_ARGS ?=
CHAOS_ARGS ?=
WORKERS ?= auto

VENV := .venv
BIN := $(VENV)/bin
DASHBOARD := hub/dashboard
NODE := .ci/node
LOCK := $(DASHBOARD)/node_modules/.package-lock.json
BUILT := hub/botyard/static/index.html
SOURCES := $(shell find $(DASHBOARD) \( -name node_modules -o -name test \) -prune -o -type f -print 2>/dev/null)

# Advertisement of the docs tool.
export NO_MKDOCS_2_WARNING := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test chaos check gen fmt bench docs dist update clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready-dev $(BUILT) ## Prepare everything for development
	@echo "✓ Ready: $(BIN)/botyard, $(BIN)/pytest and the others are there."

demo: $(VENV)/.ready-run $(BUILT) ## Run a hub with five simulated robots (DEMO_ARGS="--no-browser")
	@exec $(BIN)/botyard demo $(DEMO_ARGS)

test: $(VENV)/.ready-dev $(BUILT) ## Run every test (PYTEST_ARGS="-k telemetry")
	@.ci/system-packages
	@.ci/quietly "Testing the dashboard" $(NODE) npm --prefix $(DASHBOARD) test
	@mkdir -p artifacts
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --junitxml=artifacts/pytest.xml $(PYTEST_ARGS)

chaos: $(VENV)/.ready-dev ## Kill, cut and confuse everything at random, and check that nothing is lost (CHAOS_ARGS="--seed 1")
	@.ci/system-packages
	@$(BIN)/python -m tests.chaos $(CHAOS_ARGS)

check: $(VENV)/.ready-dev $(BUILT) ## Check format, types, imports, generated files and the docs
	@.ci/quietly "Checking the format" $(BIN)/ruff format --check .
	@.ci/quietly "Checking the code with ruff" $(BIN)/ruff check .
	@.ci/quietly "Checking the types with mypy" $(BIN)/mypy
	@.ci/quietly "Checking who imports whom" $(BIN)/lint-imports
	@.ci/quietly "Checking that generated files are fresh" $(BIN)/python -m tools.gen --check
	@.ci/quietly "Checking the dashboard's types" $(NODE) $(DASHBOARD)/node_modules/.bin/tsc --noEmit -p $(DASHBOARD)
	@.ci/quietly "Checking the dashboard's format" $(NODE) $(DASHBOARD)/node_modules/.bin/prettier --check $(DASHBOARD)
	@.ci/quietly "Building the docs" $(BIN)/mkdocs build --strict --quiet
	@echo "✓ All checks passed."

gen: $(VENV)/.ready-dev $(LOCK) ## Renew the files that are generated from the schemas and the code
	@$(BIN)/python -m tools.gen

fmt: $(VENV)/.ready-dev $(LOCK) ## Format the code
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .
	@.ci/quietly "Formatting the dashboard" $(NODE) npm --prefix $(DASHBOARD) run fmt

bench: $(VENV)/.ready-dev ## Run the benchmarks
	@$(BIN)/python -m benchmarks

docs: $(VENV)/.ready-dev ## Build the documentation into build/docs
	@.ci/quietly "Building the docs" $(BIN)/mkdocs build --strict --quiet
	@echo "✓ build/docs/index.html"

dist: $(VENV)/.ready-dev $(BUILT) ## Build the wheel and the source archive into dist/
	@rm -rf dist
	@.ci/quietly "Building the wheel and the source archive" $(BIN)/python -m hatchling build
	@ls dist/*

update: $(VENV)/.ready-dev $(LOCK) ## Renew the pinned versions of all dependencies
	@.ci/update
	@.ci/quietly "Renewing the dashboard's pinned versions" $(NODE) npm --prefix $(DASHBOARD) update

clean: ## Remove everything that was built or installed here (not data/)
	@rm -rf $(VENV) $(DASHBOARD)/node_modules hub/botyard/static build dist artifacts \
	  .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .schemathesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- what the targets stand on ---------------------------------------------------------------------------------------

$(BIN)/python:
	@.ci/venv "$(PYTHON)"

# What runs Botyard, and what develops it: the second holds the first, so a developer's `make demo` installs nothing.
$(VENV)/.ready-run: pyproject.toml constraints.txt | $(BIN)/python
	@.ci/install "Installing Botyard" -e '.[hub,edge,ulog]'
	@touch $@

$(VENV)/.ready-dev: pyproject.toml constraints.txt | $(BIN)/python
	@.ci/install "Installing Botyard and its tools" -e '.[dev]'
	@touch $(VENV)/.ready-run $@

$(LOCK): $(DASHBOARD)/package-lock.json $(DASHBOARD)/package.json | $(BIN)/python
	@.ci/quietly "Installing the dashboard's packages" $(NODE) npm --prefix $(DASHBOARD) ci --ignore-scripts --no-audit --no-fund
	@touch $@

$(BUILT): $(LOCK) $(SOURCES)
	@.ci/quietly "Building the dashboard" $(NODE) npm --prefix $(DASHBOARD) run build
	@test -f $@ && touch $@
