# For a bare machine: `make demo`, `make demo-events` and `make test`. PYTHON chooses the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install demo demo-events test lint clean

# A stamp is made when its step is through: a broken install continues, a finished one is not repeated.
install: $(VENV)/.package

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	"the pinned stack needs Python 3.11 or newer: make PYTHON=python3.11 install")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.stack: $(VENV)/.created requirements/pinned.txt
	$(BIN)/python -m pip install -r requirements/pinned.txt
	touch $@

$(VENV)/.package: $(VENV)/.stack setup.py pyproject.toml requirements/runtime.txt
	$(BIN)/python -m pip install --no-build-isolation --no-deps -e .
	touch $@

demo: install
	PYTHON=$(BIN)/python bash tools/demo_digits.sh

demo-events: install
	PYTHON=$(BIN)/python bash tools/demo_events.sh

test: install
	$(BIN)/python -m pytest -m "not slow"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) mmqkformer/.mim mmqkformer.egg-info build dist .pytest_cache .ruff_cache .hypothesis
