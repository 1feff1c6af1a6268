# Each target works alone on a fresh machine with Python 3.11+ and nothing else prepared.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SECONDS ?=
SEED ?=
SEEDS ?=
JOBS ?=

.PHONY: install demo test format lint types contracts unit sim e2e campaign wheel deb sbom lock clean

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
	$(BIN)/pytest -n 3 --dist loadfile tests/e2e --durations=25

# Properties by chance; rarer faults of the pair with real processes, and those of `e2e` without
# namespaces, and all shipped scenarios: an hour.
campaign: install
	for turn in 1 2 3; do HOTPAIR_CI= $(BIN)/pytest -n 2 tests/property || exit 1; done
	$(BIN)/pytest -m slow tests/e2e

# What is shipped, in dist/: the wheel, a Debian package with all libraries in it, and what is in it
# (CycloneDX). The libraries are those of .ci/test.lock, the versions that the tests ran with.
wheel: install
	rm -rf dist/*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

deb: build/runtime/installed
	.ci/deb

sbom: build/runtime/installed
	$(PYTHON) -m venv build/tools
	build/tools/bin/python -m pip install --quiet "cyclonedx-bom>=7.5,<8"
	build/tools/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type application \
	  --output-reproducible --output-format JSON --output-file dist/hotpair.cdx.json \
	  build/runtime/bin/python

build/runtime/installed: wheel
	$(PYTHON) -m venv --clear --without-pip build/runtime
	$(BIN)/python -m pip --python build/runtime/bin/python install --quiet \
	  --constraint .ci/test.lock "$$(echo dist/hotpair-*.whl)[mqtt,postgres]"
	touch $@

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
