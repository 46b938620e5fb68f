# Everything a developer or a build machine runs. Start with: make setup
SHELL := /bin/bash
# Any Python from 3.11 to 3.14; empty: the first that tools/find-python finds.
PYTHON ?=
RUN ?= run
# Relative paths only: the folder of this file may have spaces in its name.
PY := .venv/bin/python
ASYNCAPI ?= build/asyncapi

.DEFAULT_GOAL := help
.PHONY: help all setup locks reference docs check test test-fast test-all demo up down wheel tools schemas vectors contract vault e2e erasure bench bench-compare bench-peers chaos drills fuzz properties simulate mutants outages fixture asyncapi

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 10

all: check test wheel ## check, test and build

setup: .venv/stamp ## make the virtual environment

.venv/stamp: pyproject.toml requirements/dev.txt
	@python=$$(sh tools/find-python "$(PYTHON)") && "$$python" -m venv .venv
	$(PY) -m pip install --quiet --require-hashes -r requirements/dev.txt
	$(PY) -m pip install --quiet --no-deps --no-build-isolation --no-index -e .
	@touch .venv/stamp

locks: .venv/stamp ## write requirements/*.txt anew: every package by version and hash
	$(PY) -m uv --version >/dev/null 2>&1 || $(PY) -m pip install --quiet uv
	$(PY) tools/locks.py

tools:
	@sh tools/find-servers

check: .venv/stamp ## style, types, layers, reference pages
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) tools/reference.py --check
	$(PY) tools/asyncapi.py --check
	$(PY) tools/console_texts.py --check
	$(PY) -c 'import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())'

# Without compiled files each process of a test would compile all of them, and pytest rewrite every test.
unexport PYTHONDONTWRITEBYTECODE
# Two processes beside each other, each with servers of its own; a file's tests stay together.
PYTEST := $(PY) -m pytest --numprocesses $(or $(JOBS),2) --dist loadfile --no-loadscope-reorder

test: .venv/stamp tools ## what must hold before a merge, on a real Kafka and a real Redis (under 10 minutes on two cores)
	$(PYTEST) -m "not long"

test-fast: .venv/stamp ## what needs no server (about a minute)
	$(PYTEST) -m "not long and not slow and not real" tests/unit tests/scenarios

test-all: .venv/stamp tools ## every test, the long ones too, at larger sizes (an hour); the largest: chaos, drills, outages, fuzz, properties
	SIZE=full $(PYTEST)

demo: .venv/stamp tools ## the whole story on a stack of its own
	$(PY) -c 'import sys; from calllog_guard.cli import main; sys.exit(main())' demo $(if $(CALLS),--calls "$(CALLS)")

up: .venv/stamp tools ## start a stack in RUN (default: run)
	$(PY) -m calllog_guard.cli stack up --dir "$(RUN)" --detach

down: .venv/stamp ## end the stack in RUN
	$(PY) -m calllog_guard.cli stack down --dir "$(RUN)"

wheel: .venv/stamp ## build dist/*.whl
	$(PY) -m pip wheel --quiet --no-deps --wheel-dir dist .

schemas: .venv/stamp ## write schemas/ anew from the types
	$(PY) tools/message_schemas.py
	$(PY) tools/asyncapi.py

vectors: .venv/stamp ## print the golden vectors that the code computes now
	cd tests/support && ../../$(PY) make_vectors.py && ../../$(PY) make_vectors_v2.py

fixture: .venv/stamp tools wheel ## freeze what this release writes for all later ones to read: once a release, when its forms are final (minutes)
	cd tests/e2e && ../../$(PY) -W ignore release_story.py "$(or $(WHEEL),../../$$(ls -t dist/calllog_guard-*.whl | head -1))"

contract: .venv/stamp tools ## the ports' contracts, on the fakes and on the real servers
	$(PY) -m pytest tests/contract

e2e: .venv/stamp tools ## the worker processes on the real stack
	$(PY) -m pytest tests/e2e

vault: .venv/stamp ## the KMS contract on a real Vault, built once from its Go module (minutes)
	@command -v go >/dev/null || { echo "No go found: install Go 1.21 or later" >&2; exit 1; }
	$(PY) tests/contract/vault_server.py
	VAULT_REAL=1 $(PY) -m pytest tests/contract/test_kms.py

erasure: .venv/stamp tools ## the canary hunt
	$(PY) -m pytest tests/unit/core/audit/test_traces.py tests/e2e/test_canaries.py

chaos: .venv/stamp tools ## kill Redis 200 times under load, and the workers at every step (many minutes)
	CHAOS_KILLS=200 EVERY_STEP=1 $(PY) -m pytest tests/e2e/test_chaos.py tests/e2e/test_preserve.py tests/e2e/test_erase.py \
	  tests/e2e/test_protect.py

drills: .venv/stamp tools ## the drills at full size: three brokers, 1,000 erasures (many minutes)
	DRILL_LEGS=$${DRILL_LEGS:-10000} DRILL_DOWN_S=$${DRILL_DOWN_S:-60} DRILL_RESTARTS=$${DRILL_RESTARTS:-5} \
	  DRILL_ERASURES=$${DRILL_ERASURES:-1000} $(PY) -m pytest -s tests/e2e/test_drills_*.py

outages: .venv/stamp tools ## Kafka, Redis and both away, frozen or gone, half an hour each (OUTAGE_S=1800)
	OUTAGE_S=$${OUTAGE_S:-1800} $(PY) -m pytest -s -p no:randomly tests/e2e/test_silence.py

fuzz: .venv/stamp tools ## whole records by dice against every worker: 200 histories in memory, then ten minutes on a real broker
	FUZZ_SEEDS=200 $(PY) -m pytest -o timeout=0 tests/scenarios/test_fuzz.py
	FUZZ_S=$${FUZZ_S:-600} $(PY) -m pytest -s tests/e2e/test_fuzz_live.py

properties: .venv/stamp ## 5,000 random histories of 50 steps against an oracle of who may be shown what, 20,000 people and strangers erased, 10,000 histories of calls through each platform's way of telling them (an hour)
	PROPERTY_SEQUENCES=5000 PROPERTY_STEPS=50 PROPERTY_SHORTEN=1 IDENTITY_CASES=20000 \
	  $(PY) -m pytest -o timeout=0 tests/scenarios/test_properties.py tests/scenarios/test_identifier_cases.py
	HISTORIES=10000 $(PYTEST) -o timeout=0 tests/unit/core/sources/test_histories.py tests/unit/core/sources/test_pairing.py

simulate: .venv/stamp ## two policies a year apart over call data, day by day against an oracle (CALLS=calls.csv)
	$(PY) tests/support/simulate.py $(if $(CALLS),--calls "$(CALLS)")

bench: .venv/stamp tools ## events per CPU second, ours against an idiomatic Faust agent; erasures, one and a thousand; a look at a million records; the keystore walk; revisions; against the release before; beside what is bad
	$(PY) -W ignore bench/protect.py
	$(PY) -W ignore bench/erase.py
	$(PY) -W ignore bench/erase_many.py
	$(PY) -W ignore bench/absence.py
	$(PY) -W ignore bench/accesses.py
	$(PY) -W ignore bench/read.py
	$(PY) -W ignore bench/walk.py
	$(PY) -W ignore bench/sweep.py
	$(PY) -W ignore bench/cases.py
	$(PY) -W ignore bench/startup.py
	$(PY) -W ignore bench/revisions.py
	$(PY) -W ignore bench/release.py
	$(PY) -W ignore bench/beside.py
	$(PY) -W ignore bench/sessions.py
	$(PY) -W ignore bench/console.py

bench-compare: .venv/stamp ## CPU per event of this tree's protector by that of another commit or folder (BASE=...), in turns, in memory
	@test -n "$(BASE)" || { echo "BASE is missing: make bench-compare BASE=<commit or folder>" >&2; exit 1; }
	BASE="$(BASE)" $(PY) -W ignore bench/compare.py

.PHONY: bench-growth
bench-growth: .venv/stamp tools ## how cost and memory grow: ten dimensions, three sizes each, with exponents (ten minutes; SIZES=full, DIMENSIONS=legs,ledger)
	$(PY) bench/growth/table.py

bench-peers: .venv/stamp tools ## one table and plot of speed: ours, its floor, a Faust agent, Kroxylicious, Confluent's client, in one run (15 minutes)
	@test -d .venv-peers/bin || { python=$$(sh tools/find-python "$(PYTHON)") && "$$python" -m venv .venv-peers; }
	.venv-peers/bin/python -m pip install --quiet --require-hashes -r bench/peers/requirements.txt
	mvn -q -B -f bench/peers/kroxylicious/pom.xml dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$(CURDIR)/.venv-peers/kroxylicious"
	$(PY) -W ignore bench/peers/table.py
	.venv-peers/bin/python bench/peers/plot.py bench-peers.json docs/explanation/peers.svg

mutants: .venv/stamp tools ## take each protection out and see its test fail (minutes)
	$(PY) tests/mutants.py

reference: .venv/stamp ## write docs/reference/ and the pictures anew from the code
	$(PY) tools/reference.py
	$(PY) tools/drawings.py
	$(PY) tools/code_map.py
	$(PY) tools/console_texts.py

.PHONY: screenshots
screenshots: .venv/stamp ## write docs/console/ anew: each page of the console, light and dark (needs Chromium)
	SHOTS="$(CURDIR)/docs/console" $(PY) -m pytest -q -n0 tests/e2e/test_console_pages.py tests/e2e/test_console_forms.py -k 'any_page or any_form'

asyncapi: .venv/stamp ## check schemas/asyncapi.yaml with the AsyncAPI project's own parser (needs node and npm)
	@command -v npm >/dev/null || { echo "No npm found: install Node.js 20 or later" >&2; exit 1; }
	mkdir -p "$(ASYNCAPI)" && cp tools/asyncapi_parser/package.json tools/asyncapi_parser/package-lock.json "$(ASYNCAPI)"
	npm ci --silent --no-audit --no-fund --ignore-scripts --prefix "$(ASYNCAPI)"
	NODE_PATH="$(ASYNCAPI)/node_modules" node tools/asyncapi_parser/check.js schemas/asyncapi.yaml

docs: .venv/stamp ## build the documentation site, strictly, into build/site
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet
