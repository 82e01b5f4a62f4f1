# `make demo` runs the main job, `make test` passes the tests; each sets up .venv by itself, and `make setup` does only that.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH := $(VENV)/.bench
TEAM := $(VENV)/.team
CLEAN_ENV := env -u PYTHONPATH -u PYTHONHOME -u VIRTUAL_ENV
# By uv, which comes from the index, or by pip; INSTALLER=pip asks for that.
INSTALL := $(CLEAN_ENV) $(BIN)/python deploy/install.py

.PHONY: help setup demo demo-generation test test-team gpu check chaos chaos-team fuzz bench team team-down docs clean

help:
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 18

# Installed anew when the pins change; a killed installation leaves no mark, so the next call repeats it.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "secateur needs Python 3.11 or newer, found " + sys.version.split()[0])'
	@test -x $(BIN)/python || $(CLEAN_ENV) $(PYTHON) -m venv $(VENV)
	@start=$$(date +%s); \
	$(INSTALL) '.[demo,dev]'; \
	echo "installed in $$(( $$(date +%s) - start )) s"
	@touch $(READY)

setup: $(READY) ## install into .venv, and nothing else
	@echo "ready: source $(VENV)/bin/activate"

demo: $(READY) ## clean real tweets, train, prune in rounds, evaluate, register, report
	@start=$$(date +%s); $(BIN)/secateur run; echo "run time $$(( $$(date +%s) - start )) s"

# Each is a project of its own: a clone of the last commit with the example as its params.yaml. The sentiment model starts
# from the generator, and judges what the generator writes; while it is trained, the generator is pruned beside it.
demo-generation: $(READY) ## Chinese reviews: a generator, the sentiment model made of it, both pruned, in demos/
	@export PATH="$(CURDIR)/$(BIN):$$PATH"; start=$$(date +%s); \
	for name in reviews-zh-generation reviews-zh-sentiment; do examples/project.sh "$$name"; done; \
	cd demos/reviews-zh-generation; dvc repro --quiet baseline; \
	cd ../reviews-zh-sentiment; secateur run; \
	cd ../reviews-zh-generation; secateur run; \
	echo "run time $$(( $$(date +%s) - start )) s; reports: demos/*/reports/report.html"

test: $(READY) check ## every check and every test
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

check: $(READY) ## style, types and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# Each campaign goes on where it was stopped, and counts what it tried and what was as it should be.
CHAOS ?= chaos
MINUTES ?= 30
chaos: $(READY) ## kills, full and read-only disks, two hosts, eight runs at once: MINUTES of each; goes on in chaos/
	@export PYTHONUNBUFFERED=1; failed=0; \
	$(BIN)/python -m tests.faults_in_registry $(CHAOS)/registry --minutes $(MINUTES) || failed=1; \
	$(BIN)/python -m tests.faults_in_commands $(CHAOS)/commands --minutes $(MINUTES) || failed=1; \
	$(BIN)/python -m tests.kills_by_hand $(CHAOS)/runs --minutes $(MINUTES) || failed=1; \
	$(BIN)/python -m tests.together_by_hand $(CHAOS)/together --minutes $(MINUTES) || failed=1; \
	exit $$failed

chaos-team: $(TEAM) ## network cuts between a project, MLflow, S3 and PostgreSQL: MINUTES; goes on in chaos/
	@$(BIN)/python -u -m tests.cuts_in_network $(CHAOS)/network --minutes $(MINUTES)

fuzz: $(READY) ## damaged tables, files, registry rows and requests: SEED chooses which
	@failed=0; \
	$(BIN)/python -m tests.fuzz_readers --inputs 5000 --seed $(or $(SEED),1) || failed=1; \
	$(BIN)/python -m tests.fuzz_files --inputs 5000 --seed $(or $(SEED),1) || failed=1; \
	$(BIN)/python -m tests.fuzz_requests --inputs 10000 --seed $(or $(SEED),1) || failed=1; \
	exit $$failed

# What the comparison needs beyond the rest is installed when somebody asks for it.
$(BENCH): $(READY)
	@$(INSTALL) '.[demo,dev,bench]'
	@touch $(BENCH)

bench: $(BENCH) ## a benchmark: make bench NAME=quality_speed ARGS="--seeds 1"; see benchmarks/README.md
	@$(BIN)/python -m benchmarks.$(or $(NAME),alternatives) $(ARGS)

$(TEAM): $(READY)
	@$(INSTALL) '.[demo,dev,team]'
	@touch $(TEAM)

# One process holds all servers: Ctrl-C and team-down end it, and it ends them. `exec` leaves no shell between.
team: $(TEAM) ## MLflow and Prefect on PostgreSQL, data and models on S3, on 127.0.0.1; see docs/howto/team.md
	@exec $(BIN)/python -m deploy up $(ARGS)

team-down: ## end what `make team` started; databases and objects stay
	@exec $(BIN)/python -m deploy down

test-team: $(TEAM) ## the team set-up: build, promote, reproduce from a second clone, some minutes
	@$(BIN)/python -m pytest -m team tests/integration/test_team.py

gpu: $(READY) ## where there is a GPU: the tests that need one, then a benchmark beside the CPU, under ten minutes
	@$(BIN)/python -m pytest -m gpu tests/contract/test_gpu.py
	@$(BIN)/python -m benchmarks.devices $(ARGS)

docs: $(READY) ## the documentation site, in site/; generated parts are written anew
	@$(BIN)/python docs/generate.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "site/index.html"

clean: ## remove what a run has made; the environment stays
	rm -rf .secateur data models reports mlruns mlflow.db dvc.lock .dvc/cache .dvc/tmp
