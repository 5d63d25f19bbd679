# `make` lists the targets. The two that a new user needs: `make run` and `make test`.
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.ready-run
READY := $(VENV)/.ready
# Each of the many hubs that the tests start would compile the code again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup run test test-long durations lint types bench faults fuzz autobahn screenshots audit texts generated asyncapi events settings docs docs-serve client clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# By uv, or where that can't be had by pip, with a line for each package. The shell of make has no pipefail, so the
# status goes by a file.
PIP := $(BIN)/python -u -m pip install --disable-pip-version-check
UV := $(VENV)/.uv/bin/uv
UV_INSTALL := $(UV) pip install --color never --python $(BIN)/python
install = { if test -x $(UV) || $(PIP) --quiet --target $(VENV)/.uv uv==0.13.9 2>/dev/null; \
	then $(UV_INSTALL) --requirement $(1) 2>&1; else $(PIP) --progress-bar off --requirement $(1); fi; echo $$? >$(VENV)/.status; } \
	| grep --line-buffered -oE '^(Collecting [A-Za-z0-9._-]+|Installing collected packages|(Resolved|Prepared|Installed) .*|(Downloading|Building) .*|error: .*| +[^ +~0-9A-Za-z-].*)' \
	| sed 's/^/      /'; exit $$(cat $(VENV)/.status)

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "The hub needs Python 3.11 or newer; this is " + sys.version.split()[0])'
	@echo "Setting up $(VENV), once:"
	@echo "  a virtual environment with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# What `make run` needs, and no more: new users wait for it.
$(RUN_READY): $(VENV)/.made requirements.txt requirements-run.txt
	@echo "  the hub and the services that it embeds, $$(cat requirements.txt requirements-run.txt | grep -c ==) packages and what they need (requirements-run.txt)"
	@$(call install,requirements-run.txt)
	@touch $@

# Without --compile-bytecode: all of it takes 35 s of CPU, what the tests import 8 s.
$(READY): $(RUN_READY) requirements-dev.txt
	@echo "  the tools for tests, lint and figures, $$(grep -c == requirements-dev.txt) packages and what they need (requirements-dev.txt)"
	@$(call install,requirements-dev.txt)
	@touch $@

setup: $(READY) ## install what all targets need; each target installs what it needs itself

# uv is needed to set up only, and takes 40 MB.
run: $(RUN_READY) ## everything at once: services, hub, demo page (PORT=8000, HUB_HOME=.hub)
	@rm -rf $(VENV)/.uv
	@exec $(BIN)/python run.py dev

# More workers than cores, as much of the time is waiting. They share the services; a file's tests stay together.
WORKERS ?= 4
PYTEST = $(if $(TESTS),pytest,tests.support.run_tests)
CHOSEN = $(or $(TESTS),--workers $(WORKERS))

test: $(READY) ## unit, contract, integration and e2e tests (TESTS=… chooses some, WORKERS=4)
	@$(BIN)/python -m tests.support.install_tools
	@exec $(BIN)/python -m $(PYTEST) $(CHOSEN)

# Hubs are new interpreters here, where `make test` forks them from one that has imported all.
test-long: $(READY) ## all of these, with the proofs at full size too (tests marked slow)
	@$(BIN)/python -m tests.support.install_tools --long
	@TEST_HUB_START=fresh CLIENT_SCHEDULES=$(or $(CLIENT_SCHEDULES),3) exec $(BIN)/python -m $(PYTEST) -m "" --hypothesis-profile=default $(CHOSEN)

durations: $(READY) ## measure which tests' files are slow, which begin first (tests/support/durations.json)
	@$(BIN)/python -m pytest --workers $(WORKERS) --junit-xml=.durations.xml
	@$(BIN)/python -m tests.support.schedule .durations.xml && rm .durations.xml

lint: $(READY) ## ruff, the imports' directions, the catalogues, the terms of texts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m app.dev.catalogues check
	@$(BIN)/python -m app.dev.terms

types: $(READY) ## mypy, strict
	@$(BIN)/mypy

bench: $(READY) ## the hub against a naive baseline: docs/benchmarks (BENCH=--quick for a short one)
	@$(BIN)/python -m tests.support.install_tools
	@exec $(BIN)/python -m bench $(BENCH)

faults: $(READY) ## the hub under faults: docs/reliability.md (EXPERIMENTS="kill-9 …" or --list, SEED=1, SIZE=0.05)
	@$(BIN)/python -m tests.support.install_tools
	@exec $(BIN)/python -m faults --seed $(or $(SEED),1) --size $(or $(SIZE),1) $(EXPERIMENTS)

fuzz: $(READY) ## four million hostile inputs: docs/explanation/fuzzing.md (INPUTS=…, SEED=… repeats them, TARGETS=… chooses)
	@exec $(BIN)/python -m fuzz

autobahn: $(READY) ## Autobahn's WebSocket test suite against the hub's connection: docs/explanation/autobahn.md
	@exec $(BIN)/python -m tests.autobahn

screenshots: $(READY) ## take the README's pictures of the bell and the demo page again
	@UPDATE_SCREENSHOTS=1 exec $(BIN)/python -m pytest --quiet tests/e2e/demo/test_pictures.py \
		tests/e2e/demo/test_page.py::test_every_button_reaches_the_inboxes_it_names

# Needs the network. --strict: a package whose advisories can't be had counts as a failure, not as a clean one.
audit: $(VENV)/.made ## known advisories of what the hub needs (pip-audit, npm audit)
	@test -x $(VENV)/audit/bin/pip-audit || { $(PYTHON) -m venv $(VENV)/audit && $(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1; }
	@$(VENV)/audit/bin/pip-audit --strict --progress-spinner off --requirement requirements.txt
	@cd client && npm audit

texts: $(READY) ## bring locales/ up to the texts in the code
	@$(BIN)/python -m app.dev.catalogues update

generated: $(READY) ## write all generated files: references, .env.example, AsyncAPI, versions
	@$(BIN)/python run.py generate

asyncapi events settings: generated

# In a separate environment: MkDocs and the hub need different versions of some packages.
SITE := $(VENV)/docs
$(SITE)/.ready: $(VENV)/.made requirements-docs.txt
	@test -x $(SITE)/bin/python || $(PYTHON) -m venv $(SITE)
	@$(SITE)/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements-docs.txt
	@touch $@

docs: $(SITE)/.ready ## build the documentation site in build/site; a warning is an error
	@NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs build --quiet --strict

docs-serve: $(SITE)/.ready ## show the documentation at http://localhost:8008, and again after each change
	@NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs serve --dev-addr localhost:8008

client: ## build the browser package: client/dist and client/*.tgz (needs Node 20)
	@cd client && npm ci --no-audit --no-fund --silent && npm run --silent build && npm pack --silent

clean: ## remove the virtual environment and caches; .hub with its data stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
