# `make help` lists the targets. Each sets up what it needs: .venv from the locked requirements, once.
STACK ?= local
BENCH ?= image
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
OMS := $(VENV)/bin/oms
VLLM := tests/e2e/vllm_cpu
# The folder of modelimage/cache.py: a relative XDG_CACHE_HOME is no address.
CACHE := $(if $(filter /%,$(firstword $(XDG_CACHE_HOME))),$(XDG_CACHE_HOME),$(HOME)/.cache)/oci-model-serving
# By uv where it is on PATH, else by pip; either takes nothing but wheels whose hash the lock names.
INSTALL := -I oms/installing.py $(VENV)
COMPILE := $(RUN) -m uv pip compile --quiet --universal --no-build --python-version 3.10 --generate-hashes \
  --no-emit-index-url --no-annotate --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help up preview smoke test fuzz lint format docs plans replacements lock e2e bench clean clean-cache

help: ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | sed 's/^/  make /' | expand -t 20

up: $(OMS) ## Deploy STACK (default local: no cloud); MODEL=folder takes your weights on the local stack
	@$(OMS) up --stack $(STACK) $(if $(MODEL),--model "$(MODEL)") $(if $(YES),--yes)

preview: $(OMS) ## Show what `make up` would do
	@$(OMS) preview --stack $(STACK) $(if $(MODEL),--model "$(MODEL)")

smoke: $(OMS) ## Check the deployed STACK, step by step (ARGS="--model NAME --json" ...)
	@$(OMS) check --stack $(STACK) $(ARGS)

test: $(VENV)/.dev ## Run every test that this machine can run
	$(RUN) -m pytest -n auto --dist loadgroup -m "not node" $(ARGS)

e2e: $(VENV)/.dev ## Run the tests on a real node (root; builds Kubernetes the first time, about 17 minutes)
	$(RUN) -m pytest -m node -rs $(ARGS)

fuzz: $(VENV)/.dev ## Try 20,000 hostile inputs of each kind (make test tries 300)
	FUZZ_INPUTS=20000 $(RUN) -m pytest tests/fuzz -s --timeout 1800 $(ARGS)

lint: $(VENV)/.dev ## Check format, lint, types, dead code, rooms and workflows
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy .
	$(RUN) -m vulture
	$(VENV)/bin/lint-imports
	@tool=$$(command -v actionlint || echo $(VENV)/bin/actionlint); \
	if ! [ -x "$$tool" ] && command -v go >/dev/null; then \
	  echo "installing actionlint into $(VENV)"; \
	  GOFLAGS=-mod=mod GOBIN=$(CURDIR)/$(VENV)/bin go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12 || true; \
	fi; \
	if [ -x "$$tool" ]; then "$$tool"; \
	else echo "actionlint: skipped, it is not on PATH and could not be installed with go"; [ -z "$$CI" ]; fi
	@if [ -x $(VENV)/bin/zizmor ]; then $(VENV)/bin/zizmor --offline --quiet --persona pedantic .github; \
	else echo "zizmor: skipped, it needs Python 3.11"; [ -z "$$CI" ]; fi

format: $(VENV)/.dev ## Format the code
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

docs: $(VENV)/.dev ## Write settings, models, cold starts, causes and the schema in docs/ anew
	$(RUN) -m tests.docs.settings_page
	$(RUN) -m tests.docs.models_page
	$(RUN) -m tests.docs.cold_start_table
	$(RUN) -m tests.docs.causes_page
	$(RUN) -m tests.docs.measured_starts
	$(RUN) -m tests.docs.dashboard_file
	$(OMS) schema | $(RUN) -m json.tool --no-ensure-ascii > docs/stack.schema.json
	$(OMS) schema outputs | $(RUN) -m json.tool --no-ensure-ascii > docs/outputs.schema.json

plans: $(VENV)/.dev ## Write the plans of dev and prod anew (tests/plans/*.json), and the comments on typical changes
	$(RUN) -m tests.plans.golden
	$(RUN) -m tests.offline.typical_changes

replacements: $(VENV)/.dev ## Write what replaces a resource anew from the providers' schemas (needs the Pulumi CLI)
	$(RUN) -m tests.offline.replacing $(ARGS)

lock: $(VENV)/.dev ## Write requirements*.lock anew from requirements*.txt; ARGS=--upgrade for newer versions of what they pull in
	$(COMPILE) $(ARGS) requirements.txt --output-file requirements.lock >/dev/null
	$(COMPILE) $(ARGS) requirements-dev.txt --constraints requirements.lock --output-file requirements-dev.lock >/dev/null
	$(COMPILE) $(ARGS) requirements-convert.txt --constraints requirements.lock --output-file requirements-convert.lock >/dev/null
	$(COMPILE) $(ARGS) $(VLLM)/requirements.txt --overrides $(VLLM)/overrides.txt --excludes $(VLLM)/excludes.txt --output-file $(VLLM)/requirements.lock >/dev/null

bench: $(VENV)/.dev ## Measure: BENCH=image compares builders, BENCH=shapes packs large models, BENCH=shares packs one by several pods, BENCH=pull pulls layers on a node, BENCH=stream loads weights by each delivery, BENCH=plan times plans (bench/*/README.md)
	$(RUN) bench/$(BENCH)/run.py $(ARGS)

clean: ## Remove .venv, caches and what the local stack left, all below this folder
	@if ls .local/state/.pulumi/stacks/*/*.json 2>/dev/null | grep -qv '/local\.json$$'; then \
	  echo ".local/state holds stacks other than local: destroy them first, or move it away" >&2; exit 1; fi
	rm -rf $(VENV) .local .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@if [ -d "$(CACHE)" ]; then \
	  echo "left: $(CACHE) ($$(du -sh "$(CACHE)" | cut -f 1)), digests and what hubs said: make clean-cache removes it"; fi
	@echo "left: what other tools keep for themselves, as ~/.cache/pip, ~/.cache/uv (uv cache clean) and ~/.pulumi"

clean-cache: ## Remove what is remembered between runs outside this folder (~/.cache/oci-model-serving)
	rm -rf "$(CACHE)"

# The platforms of the locks (pyproject.toml, tool.uv): elsewhere pip would pass over every line of them.
$(VENV)/.python:
	@$(PYTHON) -c 'import platform as p, sys; this = p.python_implementation(), sys.platform, p.machine(); here = " ".join((this[0], p.python_version(), "on", *this[1:])); known = this[0] == "CPython" and (3, 10) <= sys.version_info[:2] <= (3, 13) and this[1:] in {("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "x86_64"), ("darwin", "arm64")}; sys.exit(None if known else f"CPython 3.10 to 3.13 on Linux or macOS, x86-64 or ARM64, is needed, this is {here}: make PYTHON=python3.12 ...")'
	@$(PYTHON) $(INSTALL)
	@touch $@

$(VENV)/.runtime: $(VENV)/.python requirements.lock
	@$(RUN) $(INSTALL) requirements.lock
	@touch $@

# Runs the command from this checkout, whatever the working directory; its children's environment stays as it is.
$(OMS): $(VENV)/.runtime Makefile
	@mkdir -p $(@D)
	@python=$$($(RUN) -c 'import sys; print(sys.executable)'); \
	printf '#!/bin/sh\nexec "%s" -c "import sys; sys.path[0] = sys.argv.pop(1); from oms.main import start; start()" "%s" "$$@"\n' \
	  "$$python" "$(CURDIR)" > $@
	@chmod +x $@

$(VENV)/.dev: $(OMS) requirements-dev.lock
	@$(RUN) $(INSTALL) requirements-dev.lock
	@touch $@
