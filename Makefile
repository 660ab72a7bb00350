# `make run` and `make test` work from a clean checkout of a machine with Python 3.11 or newer (and Node.js for the tests).
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
PORT ?= 8000

.DEFAULT_GOAL := help
.PHONY: help setup run test check format bench deploy-check deploy-run deploy-bases lock clean

help: ## Show this.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: $(INSTALLED) ## Create .venv with everything that running and testing need.

$(INSTALLED): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=/path/to/it")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: setup ## Serve on http://127.0.0.1:8000, open to this machine, with SQLite in var/.
	@exec $(BIN)/registrar serve --dev --port $(PORT)

test: setup ## Run the whole suite.
	$(BIN)/pytest -n auto

check: setup ## Lint, types, layers.
	$(BIN)/ruff format --check src tests bench docs deploy
	$(BIN)/ruff check src tests bench docs deploy
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## Format and mend what can be mended.
	$(BIN)/ruff format src tests bench docs deploy
	$(BIN)/ruff check --fix src tests bench docs deploy

bench: setup ## Measure against the peers, in one run; writes bench/RESULTS.md.
	$(BIN)/python bench/run.py

deploy-check: ## Lint deploy/ with the tools that will read it; installs them into var/deploy.
	$(PYTHON) deploy/check.py

deploy-run: ## Build the image and run the compose file, roughly; needs an engine. BUILD is given to docker build.
	$(PYTHON) deploy/run.py $(BUILD)

deploy-bases: ## Make the images that deploy/ names from Debian's packages, where no registry has them.
	$(PYTHON) deploy/bases.py $(BUILD)

lock: ## Pin the requirements anew (needs uv).
	cd requirements && for set in run dev build; do \
	  uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet $$set.in --output-file $$set.txt; done

clean: ## Remove everything that was made, the development database too.
	rm -rf .venv var .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
