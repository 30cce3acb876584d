# `make help` lists the targets. Each sets up what it needs: .venv from the pinned requirements, once.
STACK ?= local
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help up preview smoke test lint format docs plans e2e bench clean

help: ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | sed 's/^/  make /' | expand -t 20

up: $(VENV)/.runtime ## Deploy STACK (default local: no cloud); MODEL=folder takes your weights on the local stack
	@$(RUN) -m deploy up --stack $(STACK) $(if $(MODEL),--model "$(MODEL)") $(if $(YES),--yes)

preview: $(VENV)/.runtime ## Show what `make up` would do
	@$(RUN) -m deploy preview --stack $(STACK) $(if $(MODEL),--model "$(MODEL)")

smoke: $(VENV)/.runtime ## Check the deployed STACK, step by step (ARGS="--model NAME --json" ...)
	@$(RUN) -m smoke --stack $(STACK) $(ARGS)

test: $(VENV)/.dev ## Run every test that this machine can run
	$(RUN) -m pytest -n auto --dist loadgroup -m "not node" $(ARGS)

e2e: $(VENV)/.dev ## Run the tests on a real node (root; builds Kubernetes the first time, about 17 minutes)
	$(RUN) -m pytest -m node -rs $(ARGS)

lint: $(VENV)/.dev ## Check format, lint, types and workflows
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy .
	@tool=$$(command -v actionlint || echo $(VENV)/bin/actionlint); \
	if ! [ -x "$$tool" ] && command -v go >/dev/null; then \
	  echo "installing actionlint into $(VENV)"; \
	  GOFLAGS=-mod=mod GOBIN=$(CURDIR)/$(VENV)/bin go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12 || true; \
	fi; \
	if [ -x "$$tool" ]; then "$$tool"; \
	else echo "actionlint: skipped, it is not on PATH and could not be installed with go"; [ -z "$$CI" ]; fi

format: $(VENV)/.dev ## Format the code
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

docs: $(VENV)/.dev ## Write docs/settings.md anew from the schema
	$(RUN) -m tests.docs.settings_page

plans: $(VENV)/.dev ## Write the plans of dev and prod anew (tests/plans/*.json)
	$(RUN) -m tests.plans.golden

bench: $(VENV)/.dev ## Compare the builders (bench/image/README.md)
	$(RUN) bench/image/run.py $(ARGS)

clean: ## Remove .venv, caches and what the local stack left
	@if ls .local/state/.pulumi/stacks/*/*.json 2>/dev/null | grep -qv '/local\.json$$'; then \
	  echo ".local/state holds stacks other than local: destroy them first, or move it away" >&2; exit 1; fi
	rm -rf $(VENV) .local .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or later is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "a virtual environment could not be made: install Python's venv module (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@touch $@

$(VENV)/.runtime: $(VENV)/.python requirements.txt constraints.txt
	@echo "installing requirements.txt into $(VENV)"
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.txt
	@echo "installing requirements-dev.txt into $(VENV)"
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
