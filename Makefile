# make node and make test do all the set-up there is; the other targets are for those who work on chordtwist.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Tests run in as many processes: most of their time is waiting for nothing but the processor.
JOBS ?= 2
# How many times as many examples and seeds make soak takes as make test.
SOAK ?= 20
# What make model checks: all of formal/cases.toml; MODEL=--quick for what CI does.
MODEL ?=
# How long make fuzz searches, all parsers together.
FUZZ_SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help node test quick web release soak coverage lint types explore docs news fuzz wheel pins model clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

node: $(VENV)/.node  ## start one node with etc/node.ini in the foreground
	@echo "a node starts; in another terminal: $(BIN)/chordtwist put greeting hello; $(BIN)/chordtwist get greeting" >&2
	@$(BIN)/chordtwist run etc/node.ini

test: $(VENV)/.dev  ## run the tests: units, simulated rings, real sockets and processes
	@PYTHON=$(BIN)/python JOBS=$(JOBS) .ci/tests unit simulation live

quick: $(VENV)/.dev  ## run the unit tests only
	@PYTHON=$(BIN)/python JOBS=$(JOBS) .ci/tests unit

web: $(VENV)/.web  ## get what the tests of the web side need besides: playwright, axe-core, schemathesis, Chromium, promtool
	@VENV=$(VENV) .ci/web

soak: $(VENV)/.dev  ## run the same tests with more examples and seeds: SOAK=100 for a hundred times as many
	@CHORDTWIST_SOAK=$(SOAK) PYTHON=$(BIN)/python JOBS=$(JOBS) .ci/tests unit simulation

coverage: $(VENV)/.dev  ## measure which branches the unit tests and the simulated rings take; there is a floor
	@rm -f .coverage .coverage.*
	@$(BIN)/coverage run -m twisted.trial $$(.ci/tests --names unit simulation)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

lint: $(VENV)/.dev  ## check style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.dev  ## check types
	@$(BIN)/mypy

explore: $(VENV)/.node  ## simulate mixed faults and overwritten keys, with fresh seeds, until told to stop, or RUNS=10 times
	@PYTHON=$(BIN)/python .ci/explore

docs: $(VENV)/.docs  ## build the documents into docs/_build/html
	@$(BIN)/sphinx-build -W -q -b html docs docs/_build/html

news: $(VENV)/.dev  ## show what the fragments say; make news RELEASE=yes moves them into NEWS.rst
	@$(BIN)/towncrier build $(if $(RELEASE),--yes,--draft)

release: $(VENV)/.dev  ## build sdist and wheel into dist, and try the wheel in an environment of its own
	@PYTHON=$(BIN)/python .ci/release

fuzz: $(VENV)/.fuzz  ## search for bytes that break a parser; FUZZ_SECONDS=3600 for longer
	@$(BIN)/python -m tools.fuzz --seconds $(FUZZ_SECONDS)

wheel: $(VENV)/.dev  ## the package in dist/, with manual pages and completions
	@$(BIN)/python -m tools.share
	@$(BIN)/python -m hatchling build -t wheel

pins:  ## write constraints.txt anew, from the newest releases
	@PYTHON=$(PYTHON) .ci/pins

model: $(VENV)/.node  ## check the model of the ring in formal/; needs Java and Maven; MODEL=--quick for a minute of it
	@$(BIN)/python -m tools.model $(MODEL)
	@$(BIN)/python -m tools.traces --simulate 10

clean:  ## remove what was built, the environment included
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis _trial_temp* docs/_build build dist .coverage*

# Each stamp says that the environment holds what its targets need.
$(VENV)/.node: extras =
$(VENV)/.dev: extras = [test,dev]
$(VENV)/.docs: extras = [test,dev,docs]
$(VENV)/.web: extras = [test,dev,web]
$(VENV)/.fuzz: extras = [fuzz]
$(VENV)/.node $(VENV)/.dev $(VENV)/.docs $(VENV)/.web $(VENV)/.fuzz: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || \
		{ echo "chordtwist needs python3; on Debian: apt install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "chordtwist needs Python 3.11 or newer; this is $$($(PYTHON) --version)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "chordtwist needs python3-venv; on Debian: apt install python3-venv" >&2; exit 1; }
	@echo "putting what is needed into $(VENV) (a minute, once)" >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.$(extras)'
	@touch $@
