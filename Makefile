# The front door. Every target makes its own .venv; `make demo` and `make test` need nothing but Python 3.11+, make and a package registry.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOLCHAINS := .toolchains
JOBS ?= 2

.PHONY: demo test check bench format clean toolchains

demo: $(VENV)/.installed
	@$(BIN)/python examples/demo.py

test: $(VENV)/.tested toolchains
	$(BIN)/pytest -n $(JOBS) $(ARGS)

check: $(VENV)/.tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pytest tests/unit -q -p no:cacheprovider

bench: $(VENV)/.tested
	$(BIN)/python bench/run.py $(ARGS)

format: $(VENV)/.tested
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

toolchains: $(VENV)/.tested
	@$(BIN)/python tests/toolchains.py $(TOOLCHAINS)

clean:
	rm -rf $(VENV) $(TOOLCHAINS) .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Debian's Python comes without ensurepip unless python3-venv is installed.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "lambdabox needs Python 3.11 or newer; say which with: make PYTHON=/path/to/python3.12"; exit 3; }
	@$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv"; exit 3; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	@echo "installing lambdabox into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.tested: $(VENV)/.installed pyproject.toml
	@echo "installing what checks and tests need into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group test --group check
	@touch $@
