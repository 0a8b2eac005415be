# Needs python3 >= 3.11, pip, make and a package index. `make help` lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
MARKS  ?= not (slow or cluster or browser or gpu)
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help install bench test check

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

install: $(STAMP)  ## make .venv and install the pinned dependencies

bench: $(STAMP)  ## run benchmarks/quick.yaml: one table in the terminal and under results/
	$(BIN)/harness run benchmarks/quick.yaml

test: $(STAMP)  ## run the tests that take minutes in all; MARKS= runs every one, ARGS= goes to pytest
	$(BIN)/python -m pytest -m "$(MARKS)" --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(STAMP)  ## lint, format and types, without changing a file
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "harness needs Python 3.11 or later; $(PYTHON) is: $$($(PYTHON) --version 2>&1)"; \
	  echo "  try: make $(or $(MAKECMDGOALS),install) PYTHON=python3.11"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "$(PYTHON) cannot make a virtual environment"; \
	  echo "  try, on Debian or Ubuntu: apt-get install python3-venv"; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dashboards,search,test]'
	@touch $(STAMP)
