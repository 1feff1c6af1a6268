# Each target works alone on a fresh machine with Python 3.11+ and nothing else prepared.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SECONDS ?=
SEED ?=
SEEDS ?=
JOBS ?=

.PHONY: install demo test format lint types contracts unit sim e2e campaign lock clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml .ci/test.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --requirement .ci/test.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

demo: install
	$(BIN)/hotpair demo $(if $(SECONDS),--seconds $(SECONDS))

test: format lint types contracts unit e2e

format: install
	$(BIN)/ruff format --check .

lint: install
	$(BIN)/ruff check .

types: install
	$(BIN)/mypy

contracts: install
	$(BIN)/lint-imports

unit: install
	$(BIN)/pytest -n 2 tests/tidy tests/unit tests/property tests/scenarios --cov --cov-report=term:skip-covered
	$(BIN)/python tests/tidy/pure_coverage.py
	$(BIN)/pytest -n 2 tests/simulation

# One world with its log: make sim SEED=17. Many: make sim SEEDS=1000-2000 JOBS=2.
sim: install
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--keep --seeds $(or $(SEEDS),1-300) --jobs $(or $(JOBS),2))

e2e: install
	$(BIN)/pytest -n 3 --dist loadfile tests/e2e

# Rarer faults of the pair with real processes, and those of `e2e` without namespaces: 30 minutes.
campaign: install
	$(BIN)/pytest -m slow tests/e2e

# The versions that the tests ran with; renew with `make lock`.
lock:
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --group test .
	$(BIN)/python -m pip freeze --exclude hotpair > .ci/test.lock
	touch $(VENV)/installed

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .coverage
