# Two commands do everything on a fresh machine: `make quickstart` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: quickstart test check clean

quickstart: $(READY)  ## tune SmolLM2-135M on the embedded suite and publish the leaderboard
	$(BIN)/slm run recipes/quickstart.yaml

# A process on each core, with one thread: two processes with two threads each would wait for one another.
test: check  ## static checks, then every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/slm leaderboard --check

# Set up again whenever the dependencies change.
$(READY): pyproject.toml constraints.txt
	@echo "setting up $(VENV): the first time this downloads about 1 GB and takes some minutes"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "slm needs Python 3.11 or newer; say which one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "torch==$(shell sed -n 's/^torch==//p' constraints.txt)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[train,bench,duckdb,postgres,dev]"
	@touch $@

clean:
	rm -rf $(VENV) runs
