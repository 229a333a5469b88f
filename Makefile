# Every target sets up what it needs from plain Python 3.11+; `make demo` and `make test` are all a newcomer runs.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv finds locally provided wheels (a CPU build of torch, say) where pip is told of them.
export UV_FIND_LINKS := $(PIP_FIND_LINKS)
# Tests start hundreds of processes; without bytecode each would compile torch anew, whatever the shell says.
export PYTHONDONTWRITEBYTECODE :=
export PATH := $(CURDIR)/$(BIN):$(PATH)
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt

.PHONY: demo test lint bench setup constraints clean
.DEFAULT_GOAL := demo

demo: setup
	facetrain demo

# Each of torch's processes with threads for all processors would have them wait for one another: a fifth more work.
test: setup
	OMP_NUM_THREADS=1 pytest -n 3  # one worker has the tests on the cloud, which mostly wait for it

lint: setup
	ruff check .
	ruff format --check .
	mypy

bench: setup
	python -m bench

setup: $(VENV)/.installed

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is %s. Name another with: make PYTHON=python3.11" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv -c constraints.txt

$(VENV)/.installed: pyproject.toml constraints.txt package.json package-lock.json | $(BIN)/uv
	$(UV) -e '.[infra,local,trainer,tracking,faces,data,sdk]' --group test --group lint
	npm ci --silent --no-fund --no-audit
	@touch $@

# Writes constraints.txt anew from pyproject.toml; `+cpu` is dropped so that one file serves all.
constraints: $(BIN)/uv
	$(BIN)/uv pip compile --quiet --upgrade --python-version 3.11 --all-extras --group test --group lint \
	  --no-emit-find-links --no-emit-index-url --no-annotate --no-header pyproject.toml \
	  | sed -E 's/ *;.*$$//; s/^(torch==[0-9.]+)\+cpu$$/\1/' | sort -u > $(VENV)/constraints.new
	( echo '# Every version this project is tested with. Remade by `make constraints`.'; cat $(VENV)/constraints.new ) > constraints.txt

clean:
	rm -rf $(VENV) node_modules cdk.out
